//! The home folder of one node: its files, its history, its settings, and the audit of all of them.
//! Knows neither the network nor how a model is computed.

pub mod audit;
pub mod error;
pub mod home;
pub mod settings;
pub mod shell;
pub mod store;

pub use error::{Failure, FailureKind};
pub use home::Home;
