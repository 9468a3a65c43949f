//! The built program itself: real processes, real sockets, real files.

mod adapters;
mod corruption;
mod devices;
mod federation;
mod pictures;
mod refused_starts;
mod strangers;
mod strategies;
mod support;
