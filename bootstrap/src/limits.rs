//! Every bound of the bootstrap peer, each with its reason.

use std::time::Duration;

/// Handshakes under way at once; the next is dropped. Sixteen nodes starting together need 16.
pub const PENDING_INBOUND_MAX: u32 = 128;

/// Connections in all: some 30 federations of 32 members that all ask at once.
pub const ESTABLISHED_MAX: u32 = 1024;

/// Connections of one peer: a live one, and stale ones of a restarted process.
pub const PER_PEER_MAX: u32 = 4;

/// A handshake that takes longer is a stalled or hostile peer.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection nobody asks anything on is closed; members come back when they want to ask.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(120);

/// Registrations in all, each at most a few hundred bytes.
pub const REGISTRATIONS_MAX: usize = 4096;

/// Federations one peer may register in.
pub const REGISTRATIONS_PER_PEER_MAX: usize = 8;

/// How long listening may take to begin before it is an error.
pub const LISTEN_TIMEOUT: Duration = Duration::from_secs(10);
