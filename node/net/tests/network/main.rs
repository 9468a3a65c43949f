//! Proves that members on real sockets find, hear and serve each other, and turn others away.
//!
//! Everything is on loopback with ports the system chooses. Every wait is for an event and bounded.

mod blobs;
mod mesh;
mod refusals;
mod support;
