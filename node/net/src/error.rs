//! Why there is no network, and what to do about it.

use std::io;

use thiserror::Error;
use witan_files::BlobError;
use witan_protocol::member::MemberId;

/// Why a node's network or a bootstrap peer does not start.
#[derive(Debug, Error)]
pub enum NetError {
    /// Not a multiaddress, or one of a transport that is not spoken.
    #[error("{address} is not a usable address")]
    Address {
        /// As given.
        address: String,
    },
    /// A bootstrap address that does not say who answers there.
    #[error("bootstrap address {address} does not end in /p2p/ and a peer id")]
    Anonymous {
        /// As given.
        address: String,
    },
    /// The key cannot be a peer's.
    #[error("key {key} is not a public key")]
    NotAKey {
        /// The public key, in full.
        key: MemberId,
    },
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// As given.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// No address was given to a bootstrap peer, or none came up in time.
    #[error("no address to listen on")]
    Silent,
    /// The transports could not be set up.
    #[error("cannot set up the transport: {0}")]
    Transport(#[source] io::Error),
    /// Gossip could not be set up.
    #[error("cannot set up gossip: {0}")]
    Gossip(String),
    /// The blob folder cannot be used.
    #[error(transparent)]
    Blobs(#[from] BlobError),
}

impl NetError {
    /// What to do next, if that is known.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Address { .. } | Self::Silent => {
                Some("an address looks like /ip4/0.0.0.0/tcp/4000 or /ip4/0.0.0.0/udp/4000/quic-v1")
            }
            Self::Anonymous { .. } => Some("the bootstrap peer prints its full address on start"),
            Self::NotAKey { .. } => Some("make another with `witan keys`"),
            Self::Listen { source, .. } => match source.kind() {
                io::ErrorKind::AddrInUse => {
                    Some("another program has this port; stop it, or listen on another port")
                }
                io::ErrorKind::AddrNotAvailable => {
                    Some("this machine has no such address; /ip4/0.0.0.0/… takes all it has")
                }
                io::ErrorKind::PermissionDenied => Some("ports below 1024 belong to root"),
                _ => None,
            },
            Self::Transport(_) | Self::Gossip(_) | Self::Blobs(_) => None,
        }
    }
}
