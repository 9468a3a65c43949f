//! What a model is, without loading it: what lies in its folder, its parts, what training it takes.

pub mod checkpoint;
pub mod memory;
pub mod parts;
pub mod preset;
pub mod probe;
