//! Witan's protocol: how a council of members trains one adapter without a coordinator.
//!
//! Pure: no clock, no runtime, no network, no randomness, no files. Time, keys and bytes come in by
//! argument; every effect leaves as a value of [`io::Output`]. Modules import in one direction:
//! digest, codec, member, flaw, identity ← federation ← wire ← io, status ← ledger ← consensus ←
//! round ← sync ← participant. The terms are defined in `docs/GLOSSARY.md`.

pub mod codec;
mod consensus;
pub mod digest;
pub mod federation;
pub mod flaw;
pub mod identity;
pub mod io;
pub mod ledger;
pub mod member;
mod outbox;
pub mod participant;
mod peers;
mod pending;
mod round;
pub mod status;
mod sync;
pub mod wire;

pub use federation::{Federation, Roster};
pub use identity::Identity;
pub use participant::{Config, Participant};
