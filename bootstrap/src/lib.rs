//! The small peer through which the members of a federation find each other, as a program of its
//! own.
//!
//! It sees no update and has no vote; what it speaks is [`witan_net::rendezvous`]. A federation
//! that lists its members' addresses runs without it; several may run at once. Losing one costs
//! discovery, never a round.

mod key;

use std::io;
use std::path::PathBuf;

use thiserror::Error;
use witan_net::NetError;
use witan_net::rendezvous::Server;

/// What a bootstrap peer needs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Multiaddresses to listen on, TCP or QUIC, such as `/ip4/0.0.0.0/tcp/4000`. At least one.
    pub listen: Vec<String>,
    /// Its key, PKCS#8 PEM of mode 0600; made on the first run, so that its address stays the same.
    pub key_file: PathBuf,
}

/// Why the bootstrap peer does not run.
#[derive(Debug, Error)]
pub enum BootstrapError {
    /// The key file cannot be read or made.
    #[error("cannot use key file {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others than its owner may read the key file.
    #[error("key file {path} is readable by others (mode {mode:03o})")]
    Readable {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The key file holds something else.
    #[error("key file {path} is not an ed25519 private key in PKCS#8 PEM")]
    Malformed {
        /// The file.
        path: PathBuf,
    },
    /// The server does not run.
    #[error(transparent)]
    Net(#[from] NetError),
}

impl BootstrapError {
    /// What to do next, if that is known.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Io { .. } => None,
            Self::Readable { .. } => Some("take the permission from the others: chmod 600"),
            Self::Malformed { .. } => {
                Some("move the file away: the next start makes a new key, with another address")
            }
            Self::Net(error) => error.hint(),
        }
    }
}

/// Loads or makes the key and listens; returns once every listener has an address.
///
/// # Errors
/// A key that cannot be used, an address that cannot be had.
pub async fn start(settings: &Settings) -> Result<Server, BootstrapError> {
    let seed = key::load_or_create(&settings.key_file)?;
    Ok(Server::start(seed, &settings.listen).await?)
}
