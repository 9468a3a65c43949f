//! Proposing, and the verdict on what others propose: recompute before you vote.
//!
//! A proposal gets this member's vote only if every included update is signed and fits the ledger,
//! and the aggregate computed *here* from the fetched deltas has the proposed digest. Otherwise the
//! vote is nil and a signed objection names the field. Until it can be decided the member waits:
//! views time out.

use std::collections::BTreeMap;

use super::aggregates::Outcome;
use super::{Admission, HeldUpdate, Round};
use crate::digest::Digest;
use crate::flaw::Flaw;
use crate::io::{Aggregate, AggregateInput, JobId, Notice, Time};
use crate::ledger::{self, Counted};
use crate::member::{MemberId, View};
use crate::outbox::Outbox;
use crate::wire::{
    AGGREGATE, Absence, Absent, Contribution, Message, Objection, Proposal, ProposalMessage,
    Verified,
};

/// A proposal whose aggregate is to be recomputed.
#[derive(Debug)]
pub(super) struct Verification {
    inputs: Vec<AggregateInput>,
}

impl Round {
    /// A proposal of this round; refused unless the elected aggregator signed it.
    pub(crate) fn on_proposal(
        &mut self,
        now: Time,
        outbox: &Outbox,
        proposed: Verified<ProposalMessage>,
    ) -> Admission {
        let ProposalMessage { view, valid_view, proposal } = &proposed.message;
        let elected = self.consensus.aggregator(*view);
        if proposed.signer != elected {
            let name = outbox.roster.name_of(&elected);
            return Admission::Refused(format!("view {view} is led by {name}, not by its signer"));
        }
        let fresh = valid_view.is_none() && proposal.view == *view;
        let again = valid_view.is_some_and(|valid| valid < *view && proposal.view <= valid);
        if !fresh && !again {
            let reason = format!("a proposal of view {} is not valid here", proposal.view);
            return Admission::Refused(reason);
        }
        self.consensus.on_proposal(now, proposed).into()
    }

    /// An aggregation is done: its result serves proposing and every verification with these
    /// inputs.
    pub(crate) fn on_aggregated(
        &mut self,
        now: Time,
        outbox: &Outbox,
        job: JobId,
        outcome: Outcome,
    ) {
        let unusable = outcome.as_ref().err().cloned().unwrap_or_default();
        let inputs = self.aggregates.inputs(job).unwrap_or_default().to_vec();
        if let Some(work_ms) = self.aggregates.on_done(now, job, outcome) {
            self.consensus.allow_for_work(work_ms);
            self.refuse(outbox, &inputs, &unusable);
        }
    }

    /// Reaches every verdict that can be reached.
    pub(super) fn verify(&mut self, now: Time, outbox: &mut Outbox) {
        let Self { verifications, consensus, .. } = self;
        verifications.retain(|value, _| consensus.proposal(value).is_some());
        let open: Vec<_> = self
            .consensus
            .tally()
            .proposals()
            .map(|held| (held.signed.message.view, held.signed.signer, held.value))
            .filter(|(_, _, value)| !self.consensus.has_verdict(value))
            .collect();
        for (view, against, value) in open {
            match self.verify_one(now, outbox, value) {
                None => {}
                Some(Ok(())) => self.consensus.on_verdict(now, value, true),
                Some(Err(flaw)) => {
                    self.object(outbox, (view, against), value, flaw);
                    self.consensus.on_verdict(now, value, false);
                }
            }
        }
    }

    /// Proposes when this member leads and has something to propose.
    pub(super) fn propose(&mut self, now: Time, outbox: &mut Outbox) {
        let Some(view) = self.consensus.wants_proposal() else {
            return;
        };
        let inputs = self.inputs(outbox);
        let enough = self.settled_count(outbox) >= outbox.roster.quorum();
        if inputs.is_empty() || !(enough || self.is_late(now, outbox)) {
            return;
        }
        match self.aggregates.outcome(&inputs) {
            None => self.aggregates.ask(now, outbox, &self.tip, inputs),
            Some(Err(_)) => {}
            Some(Ok(aggregate)) => {
                let proposal = self.draft(outbox, view, &inputs, aggregate);
                self.blobs.put(proposal.result);
                self.consensus.propose(now, view, proposal);
            }
        }
    }

    fn draft(
        &self,
        outbox: &Outbox,
        view: View,
        inputs: &[AggregateInput],
        aggregate: &Aggregate,
    ) -> Proposal {
        let (mut included, mut absent) = (Vec::new(), Vec::new());
        for (place, member) in outbox.roster.members().iter().enumerate() {
            let member = member.id();
            let is_used =
                |held: &&HeldUpdate| inputs.contains(&self.input(outbox, place, &held.update));
            match self.updates.get(&place).filter(is_used) {
                Some(held) => {
                    included.push(Contribution { member, envelope: held.envelope.clone() });
                }
                None => {
                    let late = self.late_update_of(place).filter(is_used);
                    absent.push(self.absent(member, place, late));
                }
            }
        }
        Proposal {
            round: self.tip.round,
            view,
            aggregator: outbox.member(),
            failed_views: self.tip.failed_views(view),
            previous: self.tip.head,
            start: self.tip.adapter,
            included,
            absent,
            evidence: self.pending.evidence_due(&self.tip),
            refutation: self.objections.refutation(&self.tip, view).map(Box::new),
            decision: self.pending.petitions.decision(&self.tip).map(Box::new),
            strategy: outbox.federation.document().training.strategy.to_string(),
            result: aggregate.result,
            naive_error: aggregate.naive_error.clone(),
        }
    }

    /// The entry of a member whose update of this round is not used.
    fn absent(&self, member: MemberId, place: usize, late: Option<&HeldUpdate>) -> Absent {
        if let Some(HeldUpdate { envelope, .. }) = late {
            let why = Absence::Late { envelope: envelope.clone() };
            return Absent { member, why, heard: None };
        }
        let refused = self.refused.get(&place).cloned();
        let why = refused.map_or(Absence::NoUpdate, |because| Absence::Refused { because });
        Absent { member, why, heard: self.heard.get(&place).cloned() }
    }

    /// The verdict on one proposal; `None` while it cannot be reached.
    fn verify_one(
        &mut self,
        now: Time,
        outbox: &mut Outbox,
        value: Digest,
    ) -> Option<Result<(), Flaw>> {
        if !self.verifications.contains_key(&value) {
            match self.begin_verification(now, outbox, value)? {
                Ok(verification) => self.verifications.insert(value, verification),
                Err(flaw) => return Some(Err(flaw)),
            };
        }
        let verification = &self.verifications[&value];
        let missing = verification.inputs.iter().map(|input| input.delta);
        let missing: Vec<_> = missing.filter(|delta| !self.blobs.has(delta)).collect();
        // Whoever voted for it recomputed it and has its deltas; its aggregator may lie.
        for delta in &missing {
            for backer in self.consensus.tally().backers(value) {
                self.blobs.want(*delta, backer);
            }
        }
        if !missing.is_empty() || !self.blobs.has(&self.tip.adapter) {
            return None;
        }
        let inputs = verification.inputs.clone();
        let Some(outcome) = self.aggregates.outcome(&inputs) else {
            self.aggregates.ask(now, outbox, &self.tip, inputs);
            return None;
        };
        let proposed = self.consensus.proposal(&value)?;
        Some(match outcome {
            Ok(computed) if computed.result != proposed.result => {
                Err(Flaw::new(AGGREGATE, computed.result.digest, proposed.result.digest))
            }
            Ok(computed) if computed.naive_error != proposed.naive_error => {
                Err(Flaw::new("naive_error", "what these updates give", "something else"))
            }
            Ok(computed) => {
                self.blobs.put(computed.result);
                Ok(())
            }
            Err(unusable) => {
                let who = unusable.first().map_or_else(String::new, |(member, reason)| {
                    format!("{}: {reason}", outbox.roster.name_of(member))
                });
                Err(Flaw::new("included", "usable deltas", who))
            }
        })
    }

    /// Checks all that needs no computing, takes in updates not held yet, and asks for missing
    /// deltas.
    fn begin_verification(
        &mut self,
        now: Time,
        outbox: &mut Outbox,
        value: Digest,
    ) -> Option<Result<Verification, Flaw>> {
        let proposal = self.consensus.proposal(&value)?.clone();
        let known = |member: &MemberId, envelope: &[u8]| {
            let place = outbox.roster.place_of(member)?;
            let late = self.late.get(&place).map(|late| &late.held);
            let mut held = self.updates.get(&place).into_iter().chain(late);
            held.find(|held| held.envelope == envelope).map(|held| held.update.clone())
        };
        let checked = ledger::check_proposal(&outbox.federation, &self.tip, &proposal, &known);
        let counted = match checked {
            Ok(counted) => counted,
            Err(flaw) => return Some(Err(flaw)),
        };
        self.learn_heartbeats(outbox, &proposal);
        let (included, quorum) = (counted.included.len(), outbox.roster.quorum());
        let excused = proposal.absent.iter().filter(|absent| self.excuses(outbox, absent)).count();
        if included + excused < quorum && !self.is_late(now, outbox) {
            let expected = format!("at least {quorum} updates before the deadline");
            return Some(Err(Flaw::new("included", expected, included)));
        }
        Some(Ok(Verification { inputs: self.learn_updates(outbox, &proposal, counted) }))
    }

    /// Takes in the updates a checked proposal counts, asks for their deltas, returns them as
    /// inputs.
    fn learn_updates(
        &mut self,
        outbox: &mut Outbox,
        proposal: &Proposal,
        counted: Counted,
    ) -> Vec<AggregateInput> {
        let mut inputs = BTreeMap::new();
        for (contribution, update) in proposal.included.iter().zip(counted.included) {
            let (member, envelope) = (contribution.member, contribution.envelope.clone());
            let place = self.place_of(outbox, &member);
            inputs.insert(place, self.input(outbox, place, &update));
            self.blobs.want(update.delta, member);
            self.blobs.want(update.delta, proposal.aggregator);
            if let Some(held) = self.updates.get(&place) {
                let one = held.envelope.clone();
                self.compare(outbox, member, update.round, (one, envelope));
            } else {
                self.updates.insert(place, HeldUpdate { update, envelope });
            }
        }
        for ((member, envelope), update) in proposal.late().zip(counted.late) {
            let place = self.place_of(outbox, member);
            inputs.insert(place, self.input(outbox, place, &update));
            self.blobs.want(update.delta, *member);
            self.blobs.want(update.delta, proposal.aggregator);
            self.keep_late(outbox, *member, HeldUpdate { update, envelope: envelope.to_vec() });
        }
        inputs.into_values().collect()
    }

    /// Whether a member need not be waited for: its update is unusable, or it sits out.
    fn excuses(&self, outbox: &Outbox, absent: &Absent) -> bool {
        matches!(absent.why, Absence::Refused { .. })
            || self.sits_out.contains(self.place_of(outbox, &absent.member))
    }

    /// Takes in the heartbeats of a checked proposal: by some of them a member sits out.
    fn learn_heartbeats(&mut self, outbox: &Outbox, proposal: &Proposal) {
        for absent in &proposal.absent {
            if let (Some(progress), Some(heard)) =
                (absent.heartbeat(&outbox.roster), absent.heard.clone())
            {
                self.on_heartbeat(outbox, &absent.member, &progress, heard);
            }
        }
    }

    fn object(
        &mut self,
        outbox: &mut Outbox,
        (view, against): (View, MemberId),
        value: Digest,
        flaw: Flaw,
    ) {
        let round = self.tip.round;
        let because = flaw.to_string();
        let Flaw { field, expected, found } = flaw;
        let objection = Objection { round, view, against, value, field, expected, found };
        let (signer, message) = (outbox.member(), Message::Objection(objection.clone()));
        let signature = outbox.sign(&message);
        self.on_objection(outbox, Verified { signer, message: objection, signature });
        outbox.gossip_signed(&Verified { signer, message, signature });
        outbox.notice(Notice::Objection { round, against, because });
    }

    /// A verified objection of this round.
    pub(crate) fn on_objection(&mut self, outbox: &Outbox, objection: Verified<Objection>) {
        let (place, signed) = (self.place_of(outbox, &objection.signer), objection.signed());
        self.objections.add(place, objection.message, signed);
    }
}
