//! The handshake, per peer: no member counts as connected before its hello matched ours.
//!
//! Both sides ask and both answer, on a protocol every federation shares, so that each side of a
//! mismatch can name the field that differs.

use std::collections::BTreeMap;

use libp2p::PeerId;
use witan_protocol::federation::Federation;
use witan_protocol::federation::hello::Hello;

/// What this node says, and what it made of what others said.
#[derive(Debug)]
pub(crate) struct Handshakes {
    mine: Hello,
    outcomes: BTreeMap<PeerId, Outcome>,
}

/// What a hello led to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The same federation, heard for the first time on this connection.
    Accepted,
    /// Accepted before.
    Repeated,
    /// Another federation, or nonsense; in one line.
    Mismatch(String),
}

/// Where a peer's handshake stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is reported as connected.
    Accepted,
    /// It is refused.
    Mismatch,
}

impl Handshakes {
    /// What a member of this federation says.
    pub(crate) fn new(federation: &Federation) -> Self {
        Self { mine: Hello::new(federation), outcomes: BTreeMap::new() }
    }

    /// The bytes of this node's hello.
    pub(crate) fn hello(&self) -> Vec<u8> {
        self.mine.encode()
    }

    /// A member's hello, whether as a question or as an answer.
    pub(crate) fn on_hello(&mut self, peer: PeerId, bytes: &[u8]) -> Verdict {
        let checked = match Hello::decode(bytes) {
            Ok(theirs) => self.mine.check(&theirs).map_err(|error| error.to_string()),
            Err(error) => Err(format!("its hello cannot be read: {error}")),
        };
        let outcome = if checked.is_ok() { Outcome::Accepted } else { Outcome::Mismatch };
        let before = self.outcomes.insert(peer, outcome);
        match checked {
            Err(mismatch) => Verdict::Mismatch(mismatch),
            Ok(()) if before == Some(Outcome::Accepted) => Verdict::Repeated,
            Ok(()) => Verdict::Accepted,
        }
    }

    /// Whether the peer's hello matched.
    pub(crate) fn is_accepted(&self, peer: &PeerId) -> bool {
        self.outcomes.get(peer) == Some(&Outcome::Accepted)
    }

    /// The last connection closed. Returns what the last hello on it led to, if there was one.
    pub(crate) fn on_closed(&mut self, peer: &PeerId) -> Option<Outcome> {
        self.outcomes.remove(peer)
    }
}
