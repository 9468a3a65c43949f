//! The unified multimodal model of Witan: what a member trains, and what the federation agrees on.
//!
//! Pure computation: no clock, no network, no randomness but from seeds passed in. Progress goes out by callback.

pub mod anatomy;
pub mod blip3o;
pub mod causal;
pub mod checkpoint;
pub mod config;
pub mod device;
pub mod encoded;
pub mod frozen;
mod fused;
pub mod generate;
pub mod lora;
pub mod memory;
pub mod pretrain;
pub mod survey;
pub mod text;
pub mod train;
pub mod umm;

// Until those who use this crate name these two themselves.
use witan_adapter::vector;
pub use witan_adapter::{
    Adapter, AdapterError, Codec, Committed, LoraConfig, Strategy, adapter, aggregate, committed,
    delta, peft, strategy, tensor_files,
};
pub use witan_data::{self as data, evaluate, sheet};

pub use causal::Causal;
pub use checkpoint::{Base, BaseError};
pub use device::{Compute, Device, DeviceError};
pub use encoded::EncodedShard;
pub use pretrain::PretrainPlan;
pub use train::{Course, Paused, Schedule, Step, TrainError, TrainPlan, Trained, train};
pub use umm::Umm;
