//! Fuzzing: bytes in, and nothing may panic, nothing may be read in two ways, nothing may be said
//! twice.
//!
//! Two entrances, each a plain function of bytes, so that whatever makes the bytes can call them;
//! the test `tests/tests/fuzz.rs` does, from seeds, at every change. [`decoders::decode`] reads the
//! bytes as everything this protocol reads; [`machine::drive`] takes them for a script that a
//! participant lives through, among members whose keys the script holds.

pub mod decoders;
pub mod machine;
pub mod mutate;
mod script;
mod words;

pub use script::Script;
