//! The unified multimodal model of Witan: what a member trains, and what the federation agrees on.
//!
//! Pure computation: no clock, no network, no randomness but from seeds passed in. Progress goes out by callback.

pub mod adapter;
pub mod aggregate;
pub mod anatomy;
pub mod blip3o;
pub mod causal;
pub mod checkpoint;
pub mod committed;
pub mod config;
pub mod data;
pub mod delta;
pub mod device;
pub mod encoded;
pub mod evaluate;
pub mod frozen;
mod fused;
pub mod generate;
pub mod lora;
pub mod memory;
pub mod peft;
pub mod pretrain;
pub mod sheet;
pub mod strategy;
pub mod survey;
pub mod tensor_files;
pub mod text;
pub mod train;
pub mod umm;
mod vector;

pub use adapter::{Adapter, AdapterError};
pub use causal::Causal;
pub use checkpoint::{Base, BaseError};
pub use committed::Committed;
pub use config::LoraConfig;
pub use delta::Codec;
pub use device::{Compute, Device, DeviceError};
pub use encoded::EncodedShard;
pub use pretrain::PretrainPlan;
pub use strategy::Strategy;
pub use train::{Course, Paused, Schedule, Step, TrainError, TrainPlan, Trained, train};
pub use umm::Umm;
