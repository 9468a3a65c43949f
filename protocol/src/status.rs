//! What a participant is doing, with whom, what it waits for and until when; and how much it holds.
//! For people and tests: nothing is decided by it.

use serde::{Deserialize, Serialize};

use crate::digest::{BlobRef, Digest};
use crate::io::Time;
use crate::member::{MemberId, Round, View};

/// Where in its round a participant is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PhaseName {
    /// Its own training job is running.
    Training,
    /// It waits for the updates of other reachable members.
    Collecting,
    /// The members vote.
    Deciding,
    /// The committed adapter is being fetched or loaded.
    Adopting,
    /// All rounds are committed; it only sends records to members behind.
    Finished,
    /// It is not a member, or not yet: it follows the ledger and takes no part.
    Watching,
}

/// A snapshot of a participant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The round it is in: the first without a record.
    pub round: Round,
    /// Rounds in all.
    pub rounds: u64,
    /// Where in that round it is.
    pub phase: PhaseName,
    /// The view being voted on; 0 before the vote.
    pub view: View,
    /// Who leads that view.
    pub aggregator: MemberId,
    /// Members it waits for: for their updates, or to come back online.
    pub waiting_for: Vec<MemberId>,
    /// When that waiting ends by itself, on the caller's clock.
    pub waiting_until: Option<Time>,
    /// Updates held for the round.
    pub updates_in: u64,
    /// Of those, how many with their delta stored.
    pub deltas_in: u64,
    /// Prevotes held in the current view.
    pub prevotes: u64,
    /// Precommits held in the current view.
    pub precommits: u64,
    /// Votes that decide.
    pub quorum: u64,
    /// The digest of the newest record, or the genesis digest.
    pub head: Digest,
    /// The committed adapter.
    pub adapter: BlobRef,
    /// Members connected directly.
    pub connected: Vec<MemberId>,
    /// Once every round is committed: members that took no part in the last one and are not
    /// reachable.
    pub missing: Vec<MemberId>,
    /// Why nothing can be decided, if so.
    pub stalled: Option<String>,
}

/// How much a participant holds of the round at hand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Messages of the next round, kept until it begins.
    pub early: usize,
    /// Updates.
    pub updates: usize,
    /// Updates of earlier rounds.
    pub late: usize,
    /// Proofs of equivocation.
    pub evidence: usize,
    /// Open petitions.
    pub petitions: usize,
    /// Heartbeats kept as proof of presence.
    pub heard: usize,
    /// Blobs stored or wanted.
    pub blobs: usize,
    /// Views with a proposal.
    pub views_proposed: usize,
    /// Votes.
    pub votes: usize,
    /// Views of which there are votes.
    pub views: usize,
    /// Distinct proposals.
    pub proposals: usize,
    /// Verdicts on proposals.
    pub verdicts: usize,
    /// Proposals being verified.
    pub verifications: usize,
    /// Aggregations running or done.
    pub aggregations: usize,
    /// Timeouts running.
    pub timers: usize,
    /// Outputs the caller has not taken yet.
    pub outputs: usize,
}
