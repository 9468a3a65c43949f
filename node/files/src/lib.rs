//! What every part of a node writes to disk with: files that appear as a whole or not at all, and
//! content-addressed blobs.

mod atomic;
mod blobs;

pub use atomic::write_atomically;
pub use blobs::{BlobError, Blobs, Part};
