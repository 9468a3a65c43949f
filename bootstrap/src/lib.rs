//! The small peer through which the members of a federation find each other, as a program of its
//! own.
//!
//! It sees no update and has no vote; what it speaks is [`witan_net::rendezvous`]. A federation
//! that lists its members' addresses runs without it; several may run at once. Losing one costs
//! discovery, never a round.

mod key;

use std::path::PathBuf;

use thiserror::Error;
pub use witan_net::rendezvous::{Server, ServerError};

pub use key::KeyError;

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
    /// No usable key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The server does not run.
    #[error(transparent)]
    Server(#[from] ServerError),
}

impl BootstrapError {
    /// What to do next, if that is known.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Key(error) => error.hint(),
            Self::Server(error) => error.hint(),
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
