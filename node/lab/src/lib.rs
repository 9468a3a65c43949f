//! Experiments: many nodes on one machine, trainings without a federation, and grids of both.

pub mod compare;
pub mod grid;
pub mod judge;
pub mod solo;
pub mod tables;
pub mod testnet;
pub mod training;
