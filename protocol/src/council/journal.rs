//! The journal: what a participant must find again after a crash so that it never signs twice.
//!
//! A batch is one [`Entry::Wal`](crate::io::Entry::Wal), opaque to the node. It is written before
//! the own message it led to is sent, and replayed in order.

use arc_malachitebft_core_types::TimeoutKind;
use serde::{Deserialize, Serialize};

use crate::codec::{self, DecodeError};
use crate::digest::Digest;
use crate::member::{MemberId, Round, View};

/// Items that become durable together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Batch {
    /// The round they belong to.
    pub round: Round,
    /// In the order they happened.
    pub items: Vec<Item>,
}

/// One thing to be found again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Item {
    /// The own update, as signed.
    Update {
        /// Its envelope.
        #[serde(with = "serde_bytes")]
        envelope: Vec<u8>,
    },
    /// A vote that was counted.
    Vote {
        /// Its envelope.
        #[serde(with = "serde_bytes")]
        envelope: Vec<u8>,
    },
    /// A motion that was considered: its proposal must not be lost by those who vote for it.
    Motion {
        /// Its envelope.
        #[serde(with = "serde_bytes")]
        envelope: Vec<u8>,
    },
    /// What recomputation said of a proposal.
    Verdict {
        /// The view it was made in.
        view: View,
        /// Its digest.
        value: Digest,
        /// Who made it.
        aggregator: MemberId,
        /// Whether it stood up.
        valid: bool,
    },
    /// A wait that ended.
    Timeout {
        /// Its view.
        view: View,
        /// Its step.
        step: TimeoutStep,
    },
}

/// The waits of a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeoutStep {
    /// For a motion.
    Propose,
    /// For a quorum of prevotes for one value.
    Prevote,
    /// For a quorum of precommits for one value.
    Precommit,
}

impl Batch {
    /// The bytes to persist.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Reads persisted bytes; they are the node's own, so their number is not bounded tightly.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        codec::decode(bytes, BATCH_BYTES_MAX)
    }
}

impl Item {
    /// Tells items apart, so that none is journalled twice.
    pub fn digest(&self) -> Digest {
        Digest::of(&codec::encode(self))
    }
}

impl TimeoutStep {
    /// The core's name for it.
    pub fn kind(self) -> TimeoutKind {
        match self {
            TimeoutStep::Propose => TimeoutKind::Propose,
            TimeoutStep::Prevote => TimeoutKind::Prevote,
            TimeoutStep::Precommit => TimeoutKind::Precommit,
        }
    }

    /// From the core's name; the waits that are not journalled have none.
    pub fn of(kind: TimeoutKind) -> Option<Self> {
        match kind {
            TimeoutKind::Propose => Some(TimeoutStep::Propose),
            TimeoutKind::Prevote => Some(TimeoutStep::Prevote),
            TimeoutKind::Precommit => Some(TimeoutStep::Precommit),
            TimeoutKind::Rebroadcast | TimeoutKind::FinalizeHeight(_) => None,
        }
    }
}

/// Bytes a batch may have: 64 views of motions and votes of 64 members.
const BATCH_BYTES_MAX: usize = 64 << 20;
