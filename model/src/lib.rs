//! The model of Witan: data, evaluation, and what is trained on them.

pub mod data;
pub mod evaluate;
