//! LoRA adapters without the model: deltas, aggregation, PEFT and safetensors files.
//!
//! Pure computation on the host. Knows no network module and no device: an adapter is made from the
//! names and shapes of the layers it adapts ([`Adaptable`]), hence an auditor needs nothing else.

pub mod adapter;
pub mod aggregate;
pub mod committed;
pub mod delta;
pub mod fresh;
pub mod lora;
pub mod peft;
pub mod strategy;
pub mod tensor_files;
pub mod tensors;
pub mod vector;

pub use adapter::{Adaptable, Adapter, AdapterError};
pub use committed::Committed;
pub use delta::Codec;
pub use lora::LoraConfig;
pub use strategy::Strategy;
