//! Each record a member persists follows from the one before it: the next round, its digest, its
//! adapter. Across restarts too.

use std::collections::BTreeMap;

use witan_protocol::digest::{BlobRef, Digest};
use witan_protocol::ledger::Tip;
use witan_protocol::member::Round;

use super::{Invariant, Observation, Scene};
use crate::model;

/// The newest link of each member's chain.
#[derive(Default)]
pub(super) struct LedgerContinuous {
    links: BTreeMap<usize, Link>,
}

#[derive(Clone, Copy, PartialEq)]
struct Link {
    round: Round,
    head: Digest,
    adapter: BlobRef,
}

impl Invariant for LedgerContinuous {
    fn name(&self) -> &'static str {
        "ledger_continuous"
    }

    fn observe(&mut self, scene: &Scene<'_>, observation: &Observation<'_>) -> Result<(), String> {
        let Observation::Persisted(record) = observation else {
            return Ok(());
        };
        let link = self.links.entry(scene.node).or_insert_with(|| {
            let tip = Tip::genesis(scene.federation, model::start());
            Link { round: tip.round, head: tip.head, adapter: tip.adapter }
        });
        let proposal = &record.proposal;
        let found =
            Link { round: proposal.round, head: proposal.previous, adapter: proposal.start };
        if found != *link {
            return Err(format!(
                "round {} on {} from {}, expected round {} on {} from {}",
                found.round,
                found.head.short(),
                found.adapter.digest.short(),
                link.round,
                link.head.short(),
                link.adapter.digest.short()
            ));
        }
        let round = Round(proposal.round.0 + 1);
        *link = Link { round, head: record.digest(), adapter: proposal.result };
        Ok(())
    }
}
