//! Every update in a record was signed by the member it is said to be of, for that round, from that
//! adapter; a late one for an earlier round, no longer ago than agreed, from that round's adapter.
//! An honest member's update counts only if that member really published it.

use std::collections::{HashMap, HashSet};
use std::ops::RangeInclusive;

use witan_protocol::digest::Digest;
use witan_protocol::member::{MemberId, Round};
use witan_protocol::wire::{Contribution, Message, Proposal, envelope};

use super::{Invariant, Observation, Scene};

/// The updates that were really published.
#[derive(Default)]
pub(super) struct InputsWereSigned {
    published: HashMap<Digest, MemberId>,
    honest: HashSet<MemberId>,
    checked: HashSet<Digest>,
    starts: HashMap<Round, Digest>,
}

impl Invariant for InputsWereSigned {
    fn name(&self) -> &'static str {
        "inputs_were_signed"
    }

    fn observe(&mut self, scene: &Scene<'_>, observation: &Observation<'_>) -> Result<(), String> {
        let me = scene.me;
        match observation {
            Observation::Started => {
                self.honest.insert(me);
                Ok(())
            }
            Observation::Said(verified, bytes) if verified.signer == me => {
                if matches!(verified.message, Message::Update(_)) {
                    self.published.insert(Digest::of(bytes), me);
                }
                Ok(())
            }
            Observation::Persisted(record) => {
                let proposal = &record.proposal;
                if !self.checked.insert(proposal.digest()) {
                    return Ok(());
                }
                self.starts.insert(proposal.round, proposal.start.digest);
                for Contribution { member, envelope } in &proposal.included {
                    self.check(scene, proposal, (member, envelope), 0..=0)?;
                }
                let late_rounds = scene.federation.document().council.late_rounds;
                for late in proposal.late() {
                    self.check(scene, proposal, late, 1..=late_rounds)?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

impl InputsWereSigned {
    fn check(
        &self,
        scene: &Scene<'_>,
        proposal: &Proposal,
        (member, envelope): (&MemberId, &[u8]),
        late_by: RangeInclusive<u64>,
    ) -> Result<(), String> {
        let name = scene.roster.name_of(member);
        let wrong = |what: &str| Err(format!("round {}, {name}: {what}", proposal.round));
        let published = self.published.get(&Digest::of(envelope));
        if self.honest.contains(member) && published != Some(member) {
            return wrong("never published this update");
        }
        let Ok(verified) = envelope::open(envelope, scene.roster) else {
            return wrong("the envelope does not open");
        };
        let Message::Update(update) = verified.message else {
            return wrong("the envelope is not an update");
        };
        if verified.signer != *member {
            return wrong("signed by somebody else");
        }
        let late = proposal.round.0.checked_sub(update.round.0);
        let start = self.starts.get(&update.round);
        if !late.is_some_and(|late| late_by.contains(&late)) || start != Some(&update.start) {
            return wrong("for another round or from another adapter");
        }
        Ok(())
    }
}
