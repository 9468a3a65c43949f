//! What a running node tells: one JSON object a line with `witan run --json`. The testnet launcher
//! reads these lines; so can any program.

use serde::{Deserialize, Serialize};
use witan_protocol::digest::Digest;
use witan_protocol::io::Notice;
use witan_protocol::member::{MemberId, Round};

/// One line.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NodeEvent {
    /// Milliseconds since the Unix epoch, by this node's clock.
    pub at_ms: u64,
    /// What happened.
    #[serde(flatten)]
    pub what: Happening,
}

/// The kinds of event.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Happening {
    /// The node is up; its history is read.
    Started {
        /// Its name in the federation.
        name: String,
        /// Rounds in its ledger.
        rounds: u64,
    },
    /// It listens here.
    Listening {
        /// A multiaddress.
        address: String,
    },
    /// A member passed the handshake.
    Connected {
        /// Who.
        member: MemberId,
    },
    /// The last connection to a member closed.
    Disconnected {
        /// Who.
        member: MemberId,
    },
    /// Somebody was turned away.
    PeerRefused {
        /// Who, as far as known.
        peer: String,
        /// Why.
        reason: String,
    },
    /// Before the first training, what drawings of captioned pictures should become is made.
    Preparing {
        /// Pictures done.
        done: usize,
        /// Pictures in all.
        pictures: usize,
    },
    /// Training waits for its turn at the cores, or has begun.
    Training {
        /// The round.
        round: Round,
        /// Steps done.
        step: u64,
        /// Steps in all.
        steps: u64,
        /// Questions and captions drawn for these steps; of what the data lack, none are.
        examples: u64,
        /// The newest loss; 0 before the first step.
        loss: f32,
    },
    /// This node's delta is stored; its update goes out now.
    Trained {
        /// The round.
        round: Round,
        /// The delta.
        delta: Digest,
    },
    /// This node cannot train this round and says so to the others.
    SitsOut {
        /// The round.
        round: Round,
        /// Why.
        reason: String,
    },
    /// A fetched blob is here and matches its digest.
    BlobStored {
        /// The blob.
        digest: Digest,
    },
    /// The protocol says.
    Protocol {
        /// What.
        notice: Notice,
    },
    /// The committed adapter is loaded: the round is over for this node.
    Adopted {
        /// The round.
        round: Round,
        /// Bytes received since the node started.
        bytes_in: u64,
        /// Bytes sent since the node started.
        bytes_out: u64,
    },
    /// The node stops, on request.
    Stopping,
}
