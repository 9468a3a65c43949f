//! Witan's protocol: how a council of members trains one adapter without a coordinator.
//!
//! Pure: no clock, no runtime, no network, no randomness, no files. Time, keys and bytes come in by
//! argument; every effect leaves as a value of [`io::Output`]. The words used here are defined in
//! `docs/GLOSSARY.md`.

pub mod digest;
pub mod io;
pub mod member;
pub mod record;
