//! The unified multimodal model of Witan: what a member trains, and what the federation agrees on.
//!
//! Pure computation: no clock, no network, no randomness but from seeds passed in. Progress goes
//! out by callback. Imports go one way: [`kernels`] ← [`layers`] ← [`families`] ← [`train`],
//! [`inspect`].

pub mod device;
pub mod families;
pub mod host;
pub mod inspect;
mod kernels;
pub mod layers;
pub mod optimizer;
pub mod precision;
pub mod train;
pub mod trainable;

pub use device::{Compute, Device};
pub use families::language::causal::Causal;
pub use families::tiny::Umm;
pub use families::tiny::base::{Base, BaseError};
pub use families::tiny::shard::EncodedShard;
pub use train::{
    Schedule, Step, TrainError, TrainPlan, Trained, TrainingRun, TrainingState, train,
};
