//! No update counts twice, and none counts of a member once a newer one has: over all rounds.

use std::collections::{HashMap, HashSet};

use witan_protocol::digest::Digest;
use witan_protocol::envelope;
use witan_protocol::member::{MemberId, Round};
use witan_protocol::message::Message;

use super::{Invariant, Scene, Sight};

/// The round of the newest update that counted of each member.
#[derive(Default)]
pub struct CountedOnce {
    newest: HashMap<MemberId, Round>,
    checked: HashSet<Digest>,
}

impl Invariant for CountedOnce {
    fn name(&self) -> &'static str {
        "counted_once"
    }

    fn see(&mut self, scene: &Scene<'_>, sight: &Sight<'_>) -> Result<(), String> {
        let Sight::Persisted(record) = sight else {
            return Ok(());
        };
        let proposal = &record.proposal;
        // All persist the same records in the same order: whoever is first stands for all.
        if !self.checked.insert(proposal.digest()) {
            return Ok(());
        }
        let fresh = proposal.included.iter().map(|part| (&part.member, part.envelope.as_slice()));
        for (member, envelope) in fresh.chain(proposal.late()) {
            let opened = envelope::open(envelope, scene.roster).map(|verified| verified.message);
            let Ok(Message::Update(update)) = opened else {
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
