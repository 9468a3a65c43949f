//! The built program itself: real processes, real sockets, real files.

mod adapters;
mod checkpoint_training;
mod checkpoints;
mod corruption;
mod council;
mod data;
mod devices;
mod evaluation;
mod federation;
mod grid;
mod in_process;
mod late;
mod liar;
mod losses;
mod membership;
mod memory;
mod pictures;
mod refused_starts;
mod strangers;
mod strategies;
mod support;
mod training;
