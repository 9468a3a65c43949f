//! Experiments: a spec, a folder, events while they run, a report. Testnets, trainings without a
//! federation and grids of both differ in their spec alone.

pub mod candidate;
mod evaluator;
pub mod event;
mod folder;
pub mod grid;
mod opened;
pub mod spec;
pub mod tables;
pub mod testnet;
pub mod train;
pub mod trainer;
