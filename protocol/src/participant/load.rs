//! What a participant holds in memory, counted: everything a peer could make grow has a bound.

use super::Participant;

/// How much a participant holds of the round at hand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Messages of the next round, kept until it begins.
    pub early: usize,
    /// Updates.
    pub updates: usize,
    /// Updates of earlier rounds.
    pub late: usize,
    /// Proofs of members who said two things where only one may be said.
    pub evidence: usize,
    /// Petitions under vote.
    pub petitions: usize,
    /// Heartbeats kept to show who was there.
    pub heard: usize,
    /// Blobs here or asked for.
    pub blobs: usize,
    /// Motions.
    pub motions: usize,
    /// Votes.
    pub votes: usize,
    /// Views of which there are votes.
    pub views: usize,
    /// Proposals, with or without a motion that still puts them.
    pub proposals: usize,
    /// Verdicts on proposals.
    pub verdicts: usize,
    /// Proposals under examination.
    pub cases: usize,
    /// Aggregations running or done.
    pub aggregations: usize,
    /// Waits running.
    pub timers: usize,
    /// Outputs the caller has not taken yet.
    pub outputs: usize,
}

impl Participant {
    /// What it holds: for watching, never for deciding.
    pub fn load(&self) -> Load {
        let council = self.round.council.load();
        Load {
            early: self.early.len(),
            updates: self.round.updates.len(),
            late: self.round.late_count(),
            evidence: self.round.agenda.evidence().count(),
            petitions: self.round.agenda.polls.iter().count(),
            heard: self.round.heard_count(),
            blobs: self.round.shelf.len(),
            cases: self.round.cases_open(),
            aggregations: self.round.aggregations(),
            outputs: self.post.queued(),
            ..council
        }
    }
}
