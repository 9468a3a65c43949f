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
pub struct Handshakes {
    mine: Hello,
    outcomes: BTreeMap<PeerId, Outcome>,
}

/// What a hello led to.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The same federation, heard for the first time on this connection.
    Accepted,
    /// ExchangeEvent before.
    Repeated,
    /// Another federation, or nonsense; in one line.
    Mismatch(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Accepted,
    Mismatch,
}

impl Handshakes {
    /// What a member of this federation says.
    pub fn new(federation: &Federation) -> Self {
        Self { mine: Hello::new(federation), outcomes: BTreeMap::new() }
    }

    /// The bytes of this node's hello.
    pub fn hello(&self) -> Vec<u8> {
        self.mine.encode()
    }

    /// A member's hello, whether as a question or as an answer.
    pub fn on_hello(&mut self, peer: PeerId, bytes: &[u8]) -> Verdict {
        let mismatch = match Hello::decode(bytes) {
            Ok(theirs) => self.mine.check(&theirs).err().map(|error| error.to_string()),
            Err(error) => Some(format!("its hello cannot be read: {error}")),
        };
        let Some(mismatch) = mismatch else {
            return match self.outcomes.insert(peer, Outcome::Accepted) {
                Some(Outcome::Accepted) => Verdict::Repeated,
                _ => Verdict::Accepted,
            };
        };
        self.outcomes.insert(peer, Outcome::Mismatch);
        Verdict::Mismatch(mismatch)
    }

    /// Whether the peer's hello matched.
    pub fn is_accepted(&self, peer: &PeerId) -> bool {
        self.outcomes.get(peer) == Some(&Outcome::Accepted)
    }

    /// The last connection closed. Returns whether anything was said on it.
    pub fn on_closed(&mut self, peer: &PeerId) -> Ended {
        match self.outcomes.remove(peer) {
            Some(Outcome::Accepted) => Ended::Member,
            Some(Outcome::Mismatch) => Ended::Refused,
            None => Ended::Silent,
        }
    }
}

/// What kind of connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// One with a member that was reported as connected.
    Member,
    /// One that was refused in the handshake.
    Refused,
    /// One that ended before any hello.
    Silent,
}
