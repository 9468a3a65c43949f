//! One node of a Witan federation: the only crate that knows both the protocol and the model.
//!
//! `cli` parses, `driver` loops, `net` talks, `store` remembers, `jobs` compute, `testnet` runs many.

pub mod audit;
pub mod cli;
pub mod control;
pub mod driver;
pub mod error;
pub mod events;
pub mod grid;
pub mod home;
pub mod interrupt;
pub mod jobs;
pub mod net;
pub mod open;
pub mod settings;
pub mod shell;
pub mod solo;
pub mod store;
pub mod tables;
pub mod testnet;
