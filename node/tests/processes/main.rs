//! The built program itself: real processes, real sockets, real files.

mod corruption;
mod federation;
mod pictures;
mod refused_starts;
mod strangers;
mod strategies;
mod support;
