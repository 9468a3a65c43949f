//! One running node of a Witan federation: the only crate that knows both the protocol and the
//! model.
//!
//! `open` puts a node together, `driver` loops, `control` answers its person, `jobs` compute.

pub mod control;
pub mod driver;
pub mod events;
pub mod interrupt;
pub mod jobs;
pub mod open;
