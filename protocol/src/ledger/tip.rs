//! The state after a chain of records: everything the next round follows from.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::lateness::Lateness;
use super::leaders::{Leaders, Standing};
use super::membership::roster_after;
use crate::codec;
use crate::digest::{BlobRef, Digest};
use crate::federation::{Federation, Roster};
use crate::member::{Round, View};
use crate::wire::{FailedView, Proposal};

/// A pure function of the federation, the start adapter and the records so far.
#[derive(Clone, Debug, PartialEq)]
pub struct Tip {
    /// The next round to decide.
    pub round: Round,
    /// The digest of the newest record, or the genesis digest.
    pub head: Digest,
    /// The committed adapter.
    pub adapter: BlobRef,
    /// The members of the next round.
    pub roster: Arc<Roster>,
    /// Who of them may lead.
    pub standing: Standing,
    /// Petitions decided while they were open, so that none is decided twice; with the last round
    /// they were open in.
    pub decided: BTreeMap<Digest, Round>,
    /// Which updates of closed rounds may still count.
    pub lateness: Lateness,
}

impl Tip {
    /// Before the first round.
    pub fn genesis(federation: &Federation, start: BlobRef) -> Self {
        let bytes = codec::encode(&(federation.id(), start));
        let head = Digest::of_kind("witan 1 genesis", &bytes);
        let (roster, standing) = (Arc::clone(federation.founders()), Standing::default());
        let (decided, lateness) = (BTreeMap::new(), Lateness::genesis(federation));
        Self { round: Round(1), head, adapter: start, roster, standing, decided, lateness }
    }

    /// After `proposal`, which was checked against this tip, was committed.
    pub fn after(&self, proposal: &Proposal) -> Self {
        let round = Round(self.round.0 + 1);
        let mut decided = self.decided.clone();
        if let Some(decision) = &proposal.decision {
            decided.insert(decision.petition.id(), decision.petition.expires());
        }
        decided.retain(|_, open_until| *open_until >= round);
        let roster = roster_after(&self.roster, proposal);
        Self {
            round,
            head: proposal.digest(),
            adapter: proposal.result,
            lateness: self.lateness.after(proposal, &self.roster, &roster),
            roster,
            standing: self.standing.after(proposal),
            decided,
        }
    }

    /// Who leads which view of the next round.
    pub fn leaders(&self) -> Leaders {
        Leaders::new(&self.roster, &self.standing, self.round)
    }

    /// The views before `view`, with those who led them.
    pub fn failed_views(&self, view: View) -> Vec<FailedView> {
        let leaders = self.leaders();
        let failed = |view| FailedView { view, aggregator: leaders.of(view) };
        (0..view.0).map(View).map(failed).collect()
    }
}
