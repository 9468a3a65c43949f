//! What every part of a node writes to disk with: files that appear as a whole or not at all, and
//! content-addressed blobs.

mod atomic;
mod blobs;
mod secret;

pub use atomic::{create_atomically, sync_folder_of, write_atomically};
pub use blobs::{BlobError, Blobs, Part};
pub use secret::{SecretError, random_seed, read_secret};
