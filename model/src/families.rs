//! The model families: each its sizes, its network, what it reads of a member's data, how it
//! learns.
//!
//! A family is one folder and one variant of [`crate::base`]; nothing here knows the training loop.

pub mod blip3o;
pub mod language;
pub mod lora_model;
pub mod tiny;
pub mod trunk;
