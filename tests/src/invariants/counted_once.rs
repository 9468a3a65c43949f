//! No update counts twice, and none counts of a member once a newer one has: over all rounds.

use std::collections::{HashMap, HashSet};

use witan_protocol::digest::Digest;
use witan_protocol::member::{MemberId, Round};
use witan_protocol::wire::envelope;

use super::{Invariant, Observation, Scene};

/// The round of the newest update that counted of each member.
#[derive(Default)]
pub(super) struct CountedOnce {
    newest: HashMap<MemberId, Round>,
    checked: HashSet<Digest>,
}

impl Invariant for CountedOnce {
    fn name(&self) -> &'static str {
        "counted_once"
    }

    fn observe(&mut self, scene: &Scene<'_>, observation: &Observation<'_>) -> Result<(), String> {
        let Some(record) = observation.new_record(&mut self.checked) else {
            return Ok(());
        };
        let proposal = &record.proposal;
        for (member, envelope) in proposal.counted() {
            let Some(update) = envelope::open_update(envelope, scene.roster) else {
                continue;
            };
            let before = self.newest.insert(*member, update.round);
            if let Some(before) = before.filter(|before| *before >= update.round) {
                let (name, of) = (scene.roster.name_of(member), update.round);
                let round = proposal.round;
                return Err(format!(
                    "round {round}: {name}'s update of {of} after that of {before}"
                ));
            }
        }
        Ok(())
    }
}
