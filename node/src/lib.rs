//! One node of a Witan federation: the only crate that knows both the protocol and the model.
//!
//! `cli` parses, `driver` loops, `net` talks, `store` remembers, `jobs` compute, `testnet` runs many.

pub mod audit;
pub mod cli;
pub mod control;
pub mod error;
pub mod home;
pub mod net;
pub mod store;
