//! Witan's protocol: how a council of members trains one adapter without a coordinator.
//!
//! Pure: no clock, no runtime, no network, no randomness, no files. Time, keys and bytes come in by
//! argument; every effect leaves as a value of [`io::Output`]. The words used here are defined in
//! `docs/GLOSSARY.md`.

pub mod agenda;
pub mod attendance;
pub mod ballot;
pub mod codec;
pub mod council;
pub mod digest;
pub mod envelope;
pub mod evidence;
pub mod federation;
pub mod identity;
pub mod io;
pub mod ledger;
pub mod member;
pub mod message;
pub mod participant;
mod peers;
mod post;
pub mod record;
pub mod refutation;
pub mod roster;
mod round;
mod shelf;
pub mod status;
mod sync;

pub use federation::Federation;
pub use identity::Identity;
pub use participant::{Config, Participant};
pub use roster::Roster;
