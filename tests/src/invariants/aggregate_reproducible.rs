//! The result of every record is the aggregate of its inputs, computed here again.

use std::collections::HashSet;

use witan_protocol::digest::Digest;

use super::{Invariant, Observation, Scene};
use crate::model;

/// The records looked at.
#[derive(Default)]
pub(super) struct AggregateReproducible {
    checked: HashSet<Digest>,
}

impl Invariant for AggregateReproducible {
    fn name(&self) -> &'static str {
        "aggregate_reproducible"
    }

    fn observe(&mut self, scene: &Scene<'_>, observation: &Observation<'_>) -> Result<(), String> {
        let Some(record) = observation.new_record(&mut self.checked) else {
            return Ok(());
        };
        let proposal = &record.proposal;
        let late_rounds = scene.federation.document().council.late_rounds;
        if model::result_of(scene.roster, late_rounds, proposal) != Some(proposal.result) {
            return Err(format!("round {}: the result is not that of its inputs", proposal.round));
        }
        Ok(())
    }
}
