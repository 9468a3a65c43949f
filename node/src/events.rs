//! What a running node reports: one JSON object a line with `witan run --json`, which the testnet
//! launcher and any other program can read, and one sentence for people. Both are defined here
//! alone.

use serde::{Deserialize, Serialize};
use witan_home::store::round_of;
use witan_protocol::digest::Digest;
use witan_protocol::io::Notice;
use witan_protocol::member::{MemberId, Round};
use witan_protocol::wire::Kind;

/// One line.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TimedEvent {
    /// Milliseconds since the Unix epoch, by this node's clock.
    pub at_ms: u64,
    /// What happened.
    #[serde(flatten)]
    pub kind: NodeEvent,
}

/// The kinds of event.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum NodeEvent {
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

/// What names a member to a person.
pub type Namer<'a> = &'a dyn Fn(&MemberId) -> String;

impl NodeEvent {
    /// One sentence for people; `None` for what only a program wants to know.
    pub fn sentence(&self, name: Namer<'_>) -> Option<String> {
        Some(match self {
            Self::Started { name, rounds } => format!("{name} is up with {rounds} rounds"),
            Self::Listening { address } => format!("listening on {address}"),
            Self::Connected { member } => format!("connected to {}", name(member)),
            Self::Disconnected { member } => format!("disconnected from {}", name(member)),
            Self::PeerRefused { peer, reason } => format!("refused {peer}: {reason}"),
            Self::Preparing { done, pictures } => {
                format!("image targets: {done} of {pictures} images")
            }
            Self::Training { round, step: 0, steps, .. } => {
                format!("round {round}: {steps} steps begin")
            }
            Self::Training { round, step, steps, loss, .. } => {
                format!("round {round}: step {step}/{steps}, loss {loss:.3}")
            }
            Self::SitsOut { round, reason } => format!("round {round}: sits out: {reason}"),
            Self::Adopted { round, .. } => format!("round {round}: adopted"),
            Self::Stopping => "stopping".to_owned(),
            Self::Protocol { notice } => return protocol_sentence(notice, name),
            Self::Trained { .. } | Self::BlobStored { .. } => return None,
        })
    }
}

/// What the protocol notices, with its round; `None` for its everyday traffic.
fn protocol_sentence(notice: &Notice, name: Namer<'_>) -> Option<String> {
    use Notice::{Accepted, Refused, RoundStarted, Sent, ViewStarted};
    let sentence = match notice {
        Sent { .. } | Accepted { .. } | Refused { .. } => return None,
        RoundStarted { .. } | ViewStarted { .. } => return None,
        Notice::Finished => {
            "every round is committed; still serving the others, Ctrl-C stops".to_owned()
        }
        notice => notice_sentence(notice, name),
    };
    Some(match round_of(notice) {
        Some(round) => format!("round {round}: {sentence}"),
        None => sentence,
    })
}

/// One sentence for people about what the protocol notices, without the round, which [`round_of`]
/// tells.
pub fn notice_sentence(notice: &Notice, name: Namer<'_>) -> String {
    let names = |members: &[MemberId]| match members {
        [] => "nobody".to_owned(),
        members => members.iter().map(name).collect::<Vec<_>>().join(", "),
    };
    let message = |what: &str, kind: Option<Kind>, route: &str, digest: &Digest, bytes: u64| {
        let kind = kind.map_or("unknown", Kind::name);
        format!("{what:<8} {kind:<9} {route}  [{}, {bytes} B]", digest.short())
    };
    match notice {
        Notice::Sent { kind, to, digest, size_bytes, .. } => {
            let to = to.as_ref().map_or_else(|| "everybody".into(), name);
            message("sent", Some(*kind), &format!("to {to}"), digest, *size_bytes)
        }
        Notice::Accepted { kind, from, via, digest, size_bytes, gist, .. } => {
            let route = match from == via {
                true => format!("from {}: {gist}", name(from)),
                false => format!("from {} via {}: {gist}", name(from), name(via)),
            };
            message("accepted", Some(*kind), &route, digest, *size_bytes)
        }
        Notice::Refused { via, kind, reason, digest, size_bytes } => {
            message("refused", *kind, &format!("via {}: {reason}", name(via)), digest, *size_bytes)
        }
        Notice::RoundStarted { .. } => "began".to_owned(),
        Notice::ViewStarted { view, aggregator, .. } => {
            format!("view {view}, led by {}, began", name(aggregator))
        }
        Notice::ViewFailed { view, aggregator, .. } => {
            format!("view {view}, led by {}, failed", name(aggregator))
        }
        Notice::Committed { view, aggregator, included, votes, record, result, .. } => format!(
            "committed in view {view}, led by {}: {included} updates, {votes} votes, record {}, \
             result {}",
            name(aggregator),
            record.short(),
            result.digest.short()
        ),
        Notice::Stalled { missing, votes, needed, .. } => {
            format!("stalled with {votes} of {needed} votes; missing: {}", names(missing))
        }
        Notice::Objection { against, because, .. } => {
            format!("objection against {}: {because}", name(against))
        }
        Notice::Suspended { member, because, .. } => {
            format!("{} no longer leads: it signed {because}", name(member))
        }
        Notice::RosterChanged { what, .. } => format!("the roster changes, as decided: {what}"),
        Notice::Missing { members } => {
            format!("the run LOST {} of its members: {}", members.len(), names(members))
        }
        Notice::Finished => "every round is committed".to_owned(),
        Notice::Repaired { what } => format!("repaired: {what}"),
    }
}
