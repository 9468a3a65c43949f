//! No record accuses an honest member of having signed two things or of a wrong aggregate, whatever
//! it went through and whoever lies about it.

use std::collections::HashSet;

use witan_protocol::member::MemberId;

use super::{Invariant, Observation, Scene};

/// The keys of honest members.
#[derive(Default)]
pub(super) struct AccusedLied {
    honest: HashSet<MemberId>,
}

impl Invariant for AccusedLied {
    fn name(&self) -> &'static str {
        "accused_lied"
    }

    fn observe(&mut self, scene: &Scene<'_>, observation: &Observation<'_>) -> Result<(), String> {
        match observation {
            Observation::Started => {
                self.honest.insert(scene.me);
            }
            Observation::Persisted(record) => {
                let refuted = record.proposal.refutation.iter().map(|it| it.objection.against);
                let proven = record.proposal.evidence.iter().map(|proof| proof.member);
                let mut accused = proven.chain(refuted);
                if let Some(member) = accused.find(|member| self.honest.contains(member)) {
                    let (round, name) = (record.proposal.round, scene.roster.name_of(&member));
                    return Err(format!("round {round}: {name} is honest but accused"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
