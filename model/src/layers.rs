//! The layers that the families share, and the one path by which their weights come into them.

pub mod adapted;
pub mod frozen;
pub mod loader;
pub mod lora;
pub mod names;
pub mod transformer;
