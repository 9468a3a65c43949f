//! Every record speaks of every member of the roster exactly once, and all members agree on who
//! leads which view of which round.

use std::collections::BTreeMap;

use witan_protocol::member::{MemberId, Round, View};

use super::{Invariant, Observation, Scene};

/// Who leads, as it was first seen.
#[derive(Default)]
pub(super) struct RosterAgreed {
    leads: BTreeMap<(Round, View), MemberId>,
}

impl Invariant for RosterAgreed {
    fn name(&self) -> &'static str {
        "roster_agreed"
    }

    fn observe(&mut self, scene: &Scene<'_>, observation: &Observation<'_>) -> Result<(), String> {
        match observation {
            Observation::Persisted(record) => {
                let proposal = &record.proposal;
                let included = proposal.included.iter().map(|c| c.member);
                let absent = proposal.absent.iter().map(|a| a.member);
                let mut said: Vec<_> = included.chain(absent).collect();
                said.sort();
                let mut roster: Vec<_> =
                    scene.roster.members().iter().map(|member| member.id()).collect();
                roster.sort();
                if said != roster {
                    return Err(format!("round {}: not the roster", proposal.round));
                }
                self.agree(scene, (proposal.round, proposal.view), proposal.aggregator)?;
                for failed in &proposal.failed_views {
                    self.agree(scene, (proposal.round, failed.view), failed.aggregator)?;
                }
                Ok(())
            }
            Observation::Settled { status, .. } => {
                self.agree(scene, (status.round, status.view), status.aggregator)
            }
            _ => Ok(()),
        }
    }
}

impl RosterAgreed {
    fn agree(
        &mut self,
        scene: &Scene<'_>,
        (round, view): (Round, View),
        leads: MemberId,
    ) -> Result<(), String> {
        let known = *self.leads.entry((round, view)).or_insert(leads);
        if known != leads {
            let name = |member| scene.roster.name_of(member);
            let (first, second) = (name(&known), name(&leads));
            return Err(format!("view {view} of round {round} is led by {first} and by {second}"));
        }
        Ok(())
    }
}
