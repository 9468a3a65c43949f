//! The home folder of one node: its files, its history, its settings, and the audit of all of them.
//! Knows neither the network nor how a model is computed.

pub mod aggregation;
pub mod audit;
mod error;
mod failure;
mod home;
mod keys;
mod memory;
pub mod settings;
pub mod shell;
pub mod store;

pub use error::{Damage, IndexError, StoreError};
pub use failure::{Failure, FailureKind};
pub use home::{Home, HomeLock};
pub use memory::kibibytes;
