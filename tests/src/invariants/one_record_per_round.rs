//! No two honest members commit different things for one round. Compared by content, not by the
//! protocol's own digest of it: a digest that left something out would hide a difference.

use std::collections::BTreeMap;

use witan_protocol::codec;
use witan_protocol::digest::Digest;
use witan_protocol::member::Round;

use super::{Invariant, Observation, Scene};

/// What was committed, by round, and who committed it first.
#[derive(Default)]
pub(super) struct OneRecordPerRound {
    committed: BTreeMap<Round, (usize, Digest)>,
}

impl Invariant for OneRecordPerRound {
    fn name(&self) -> &'static str {
        "one_record_per_round"
    }

    fn observe(&mut self, scene: &Scene<'_>, observation: &Observation<'_>) -> Result<(), String> {
        let Observation::Persisted(record) = observation else {
            return Ok(());
        };
        let (round, content) =
            (record.proposal.round, Digest::of(&codec::encode(&record.proposal)));
        let (first, known) = *self.committed.entry(round).or_insert((scene.node, content));
        if known != content {
            return Err(format!("round {round}: member {first} committed something else"));
        }
        Ok(())
    }
}
