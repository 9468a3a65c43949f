//! What a member loads, and what it trains from, is the result of a record it made durable before;
//! for the first round, the adapter everything starts from.

use std::collections::HashMap;

use witan_protocol::digest::BlobRef;
use witan_protocol::io::Output;
use witan_protocol::member::Round;

use super::{Invariant, Observation, Scene};
use crate::model;

/// The results each member persisted.
#[derive(Default)]
pub(super) struct AdoptedWasCertified {
    results: HashMap<(usize, Round), BlobRef>,
}

impl Invariant for AdoptedWasCertified {
    fn name(&self) -> &'static str {
        "adopted_was_certified"
    }

    fn observe(&mut self, scene: &Scene<'_>, observation: &Observation<'_>) -> Result<(), String> {
        match observation {
            Observation::Persisted(record) => {
                let proposal = &record.proposal;
                self.results.insert((scene.node, proposal.round), proposal.result);
                Ok(())
            }
            Observation::Wants(Output::Adopt { round, adapter, .. }) => {
                self.check(scene.node, *round, adapter)
            }
            Observation::Wants(Output::Train { round, start, .. }) => {
                self.check(scene.node, Round(round.0 - 1), start)
            }
            _ => Ok(()),
        }
    }
}

impl AdoptedWasCertified {
    fn check(&self, node: usize, round: Round, adapter: &BlobRef) -> Result<(), String> {
        let result = match round {
            Round(0) => Some(model::start()),
            round => self.results.get(&(node, round)).copied(),
        };
        if result != Some(*adapter) {
            let (adapter, result) = (adapter.digest.short(), result.map(|r| r.digest.short()));
            return Err(format!("uses {adapter} after round {round}, certified is {result:?}"));
        }
        Ok(())
    }
}
