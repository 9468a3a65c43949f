//! Every update in a record was signed by the member it is said to be of, for that round, from that
//! adapter. An honest member's update counts only if that member really published it.

use std::collections::{HashMap, HashSet};

use witan_protocol::digest::Digest;
use witan_protocol::envelope;
use witan_protocol::member::MemberId;
use witan_protocol::message::Message;
use witan_protocol::record::{Contribution, Proposal};

use super::{Invariant, Scene, Sight};

/// The updates that were really published.
#[derive(Default)]
pub struct InputsWereSigned {
    published: HashMap<Digest, MemberId>,
    honest: HashSet<MemberId>,
    checked: HashSet<Digest>,
}

impl Invariant for InputsWereSigned {
    fn name(&self) -> &'static str {
        "inputs_were_signed"
    }

    fn see(&mut self, scene: &Scene<'_>, sight: &Sight<'_>) -> Result<(), String> {
        let me = scene.me;
        match sight {
            Sight::Started => {
                self.honest.insert(me);
                Ok(())
            }
            Sight::Said(verified, bytes) if verified.signer == me => {
                if matches!(verified.message, Message::Update(_)) {
                    self.published.insert(Digest::of(bytes), me);
                }
                Ok(())
            }
            Sight::Persisted(record) => {
                let proposal = &record.proposal;
                if !self.checked.insert(proposal.digest()) {
                    return Ok(());
                }
                proposal.included.iter().try_for_each(|input| self.check(scene, proposal, input))
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
        input: &Contribution,
    ) -> Result<(), String> {
        let name = scene.roster.name_of(&input.member);
        let wrong = |what: &str| Err(format!("round {}, {name}: {what}", proposal.round));
        let published = self.published.get(&Digest::of(&input.envelope));
        if self.honest.contains(&input.member) && published != Some(&input.member) {
            return wrong("never published this update");
        }
        let Ok(verified) = envelope::open(&input.envelope, scene.roster) else {
            return wrong("the envelope does not open");
        };
        let Message::Update(update) = verified.message else {
            return wrong("the envelope is not an update");
        };
        if verified.signer != input.member {
            return wrong("signed by somebody else");
        }
        if update.round != proposal.round || update.start != proposal.start.digest {
            return wrong("for another round or from another adapter");
        }
        Ok(())
    }
}
