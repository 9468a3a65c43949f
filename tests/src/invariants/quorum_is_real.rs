//! Every certificate holds the precommits of a quorum of distinct members. An honest member's
//! signature counts only if that member really said that precommit, whatever the code that checks
//! signatures thinks of it.

use std::collections::{HashMap, HashSet};

use witan_protocol::member::MemberId;
use witan_protocol::wire::{Message, RoundRecord, Vote, VoteStep, envelope};

use super::{Invariant, Observation, Scene};

/// The precommits that were really sent.
#[derive(Default)]
pub(super) struct QuorumIsReal {
    said: HashMap<(MemberId, [u8; 64]), Vote>,
    honest: HashSet<MemberId>,
    checked: HashSet<(MemberId, [u8; 64])>,
}

impl Invariant for QuorumIsReal {
    fn name(&self) -> &'static str {
        "quorum_is_real"
    }

    fn observe(&mut self, scene: &Scene<'_>, observation: &Observation<'_>) -> Result<(), String> {
        let me = scene.me;
        match observation {
            Observation::Started => {
                self.honest.insert(me);
            }
            Observation::Said(verified, _) if verified.signer == me => {
                if let Message::Vote(vote) = verified.message {
                    self.said.insert((me, verified.signature), vote);
                }
            }
            Observation::Persisted(record) => return self.check(scene, &me, record),
            _ => {}
        }
        Ok(())
    }
}

impl QuorumIsReal {
    fn check(
        &mut self,
        scene: &Scene<'_>,
        me: &MemberId,
        record: &RoundRecord,
    ) -> Result<(), String> {
        let (proposal, certificate) = (&record.proposal, &record.certificate);
        let value = Some(proposal.digest());
        let (round, view) = (proposal.round, certificate.view);
        let vote = Vote { round, view, step: VoteStep::Precommit, value };
        let mut signers = HashSet::new();
        for commit in &certificate.signatures {
            let signed = (commit.member, commit.signature);
            if !scene.roster.contains(&commit.member) {
                return Err(format!("round {round}: {} is a stranger", commit.member.short()));
            }
            if commit.member == *me {
                // Logged before it is sent: after a crash it may be counted and never sent.
                self.said.insert(signed, vote);
            }
            let real = match self.said.get(&signed) {
                Some(said) => *said == vote,
                None if self.honest.contains(&commit.member) => false,
                None => self.is_signed(scene, signed, vote),
            };
            if !real {
                let name = scene.roster.name_of(&commit.member);
                return Err(format!("round {round}: {name} never precommitted this"));
            }
            signers.insert(commit.member);
        }
        let (votes, size) = (signers.len(), scene.roster.size());
        if votes != certificate.signatures.len() || !is_quorum(scene, votes) {
            return Err(format!("round {round}: {votes} votes of {size} members decided it"));
        }
        Ok(())
    }

    fn is_signed(&mut self, scene: &Scene<'_>, signed: (MemberId, [u8; 64]), vote: Vote) -> bool {
        if self.checked.contains(&signed) {
            return true;
        }
        let (member, signature) = &signed;
        let message = Message::Vote(vote);
        let holds = envelope::is_signed(member, scene.federation.id(), &message, signature);
        if holds {
            self.checked.insert(signed);
        }
        holds
    }
}

/// Counted here again, from the definition.
fn is_quorum(scene: &Scene<'_>, votes: usize) -> bool {
    use witan_protocol::federation::FaultModel;
    let size = scene.roster.size();
    match scene.federation.document().council.fault_model {
        FaultModel::Byzantine => 3 * votes > 2 * size,
        FaultModel::Crash => 2 * votes > size,
    }
}
