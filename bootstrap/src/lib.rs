//! The small peer through which the members of a federation find each other.
//!
//! It is a rendezvous server with identify and ping, and nothing else: it hears no gossip, holds
//! no blob, sees no update and has no vote. A federation that lists its members' addresses runs
//! without it; several may run at once. Losing one costs discovery, never a round.
//!
//! Members register their addresses under the namespace of their federation's id
//! ([libp2p rendezvous](https://github.com/libp2p/specs/blob/master/rendezvous/README.md)) and ask
//! for the others. Anyone may ask; an address admits no one, for members drop strangers.

mod behaviour;
mod key;
mod limits;
mod server;
mod settings;

pub use key::KeyError;
pub use server::{BootstrapError, Server};
pub use settings::Settings;
