//! Proposing, and the verdict on what others propose: recompute before you vote.
//!
//! A motion gets this member's vote only if every included update is signed and fits the ledger,
//! and the aggregate computed *here* from the fetched deltas has the proposed digest. Otherwise the
//! vote is nil and a signed objection names the field. Who cannot tell yet waits: views time out.

use std::collections::BTreeMap;

use super::aggregates::Outcome;
use super::{Held, Round};
use crate::digest::Digest;
use crate::flaw::Flaw;
use crate::io::{Aggregate, AggregateInput, JobId, Notice, Time};
use crate::ledger::{self, Counted};
use crate::member::{MemberId, View};
use crate::outbox::Post;
use crate::wire::{
    AGGREGATE, Absence, Absent, CommitSignature, Contribution, Message, Motion, Objection,
    Proposal, Verified,
};

/// A proposal under examination.
#[derive(Debug)]
pub(super) struct Case {
    inputs: Vec<AggregateInput>,
}

impl Round {
    /// A verified motion of this round; refused unless the elected aggregator signed it.
    pub fn on_motion(
        &mut self,
        now: Time,
        post: &Post,
        motion: Verified<Motion>,
    ) -> Result<bool, String> {
        let Motion { view, valid_view, proposal } = &motion.message;
        let elected = self.council.aggregator(*view);
        if motion.signer != elected {
            let name = post.roster.name_of(&elected);
            return Err(format!("view {view} is led by {name}, not by its signer"));
        }
        let fresh = valid_view.is_none() && proposal.view == *view;
        let again = valid_view.is_some_and(|valid| valid < *view && proposal.view <= valid);
        if !fresh && !again {
            return Err(format!("a proposal of view {} does not belong here", proposal.view));
        }
        Ok(self.council.on_motion(now, motion))
    }

    /// An aggregation is done: its outcome serves proposing and every case with the same inputs.
    pub fn on_aggregated(&mut self, now: Time, post: &Post, job: JobId, outcome: Outcome) {
        let unusable = outcome.as_ref().err().cloned().unwrap_or_default();
        let inputs = self.aggregates.inputs(job).unwrap_or_default().to_vec();
        if let Some(work_ms) = self.aggregates.on_done(now, job, outcome) {
            self.council.allow_for_work(work_ms);
            self.refuse(post, &inputs, &unusable);
        }
    }

    /// Reaches every verdict that can be reached.
    pub(super) fn judge(&mut self, now: Time, post: &mut Post) {
        let Self { cases, council, .. } = self;
        cases.retain(|value, _| council.proposal(value).is_some());
        let open: Vec<_> = self
            .council
            .tally()
            .motions()
            .map(|put| (put.motion.message.view, put.motion.signer, put.value))
            .filter(|(_, _, value)| !self.council.has_verdict(value))
            .collect();
        for (view, against, value) in open {
            match self.examine(now, post, value) {
                None => {}
                Some(Ok(())) => self.council.on_verdict(now, value, true),
                Some(Err(flaw)) => {
                    self.object(post, (view, against), value, flaw);
                    self.council.on_verdict(now, value, false);
                }
            }
        }
    }

    /// Puts the own proposal to the vote when this member leads and has something to propose.
    pub(super) fn propose(&mut self, now: Time, post: &mut Post) {
        let Some(view) = self.council.wants_proposal() else {
            return;
        };
        let inputs = self.inputs(post);
        let enough = self.settled_count(post) >= post.roster.quorum();
        if inputs.is_empty() || !(enough || self.is_late(now, post)) {
            return;
        }
        match self.aggregates.outcome(&inputs) {
            None => self.aggregates.ask(now, post, &self.tip, inputs),
            Some(Err(_)) => {}
            Some(Ok(aggregate)) => {
                let proposal = self.draft(post, view, &inputs, aggregate);
                self.shelf.put(proposal.result);
                self.council.propose(now, view, proposal);
            }
        }
    }

    fn draft(
        &self,
        post: &Post,
        view: View,
        inputs: &[AggregateInput],
        aggregate: &Aggregate,
    ) -> Proposal {
        let (mut included, mut absent) = (Vec::new(), Vec::new());
        for (place, member) in post.roster.members().iter().enumerate() {
            let member = member.id();
            let is_used = |held: &&Held| inputs.contains(&self.input(post, place, &held.update));
            match self.updates.get(&place).filter(is_used) {
                Some(held) => {
                    included.push(Contribution { member, envelope: held.envelope.clone() });
                }
                None => {
                    let late = self.stand_in(place).filter(is_used);
                    absent.push(self.absent(member, place, late));
                }
            }
        }
        Proposal {
            round: self.tip.round,
            view,
            aggregator: post.member(),
            failed_views: self.tip.failed_views(view),
            previous: self.tip.head,
            start: self.tip.adapter,
            included,
            absent,
            evidence: self.agenda.charges(&self.tip),
            refutation: self.objections.refutation(&self.tip, view).map(Box::new),
            decision: self.agenda.polls.decision(&self.tip).map(Box::new),
            strategy: post.federation.document().training.strategy.to_string(),
            result: aggregate.result,
            naive_error: aggregate.naive_error.clone(),
        }
    }

    /// What is said of a member whose own update is not used.
    fn absent(&self, member: MemberId, place: usize, late: Option<&Held>) -> Absent {
        if let Some(Held { envelope, .. }) = late {
            let why = Absence::Late { envelope: envelope.clone() };
            return Absent { member, why, heard: None };
        }
        let refused = self.refused.get(&place).cloned();
        let why = refused.map_or(Absence::NoUpdate, |because| Absence::Refused { because });
        Absent { member, why, heard: self.heard.get(&place).cloned() }
    }

    /// `None` while it cannot be told yet.
    fn examine(&mut self, now: Time, post: &mut Post, value: Digest) -> Option<Result<(), Flaw>> {
        if !self.cases.contains_key(&value) {
            match self.open_case(now, post, value)? {
                Ok(case) => self.cases.insert(value, case),
                Err(flaw) => return Some(Err(flaw)),
            };
        }
        let case = &self.cases[&value];
        let missing = case.inputs.iter().map(|input| input.delta);
        let missing: Vec<_> = missing.filter(|delta| !self.shelf.has(delta)).collect();
        // Whoever voted for it has computed it, and so has its deltas; its aggregator may be a liar.
        for delta in &missing {
            for backer in self.council.tally().backers(value) {
                self.shelf.want(*delta, backer);
            }
        }
        if !missing.is_empty() || !self.shelf.has(&self.tip.adapter) {
            return None;
        }
        let inputs = case.inputs.clone();
        let Some(outcome) = self.aggregates.outcome(&inputs) else {
            self.aggregates.ask(now, post, &self.tip, inputs);
            return None;
        };
        let proposed = self.council.proposal(&value)?;
        Some(match outcome {
            Ok(computed) if computed.result != proposed.result => {
                Err(Flaw::new(AGGREGATE, computed.result.digest, proposed.result.digest))
            }
            Ok(computed) if computed.naive_error != proposed.naive_error => {
                Err(Flaw::new("naive_error", "what these updates give", "something else"))
            }
            Ok(computed) => {
                self.shelf.put(computed.result);
                Ok(())
            }
            Err(unusable) => {
                let who = unusable.first().map_or_else(String::new, |(member, reason)| {
                    format!("{}: {reason}", post.roster.name_of(member))
                });
                Err(Flaw::new("included", "usable deltas", who))
            }
        })
    }

    /// Checks what needs no computing, learns updates not held yet, and asks for missing deltas.
    fn open_case(
        &mut self,
        now: Time,
        post: &mut Post,
        value: Digest,
    ) -> Option<Result<Case, Flaw>> {
        let proposal = self.council.proposal(&value)?.clone();
        let known = |member: &MemberId, envelope: &[u8]| {
            let place = post.roster.place_of(member)?;
            let late = self.late.get(&place).map(|late| &late.held);
            let mut held = self.updates.get(&place).into_iter().chain(late);
            held.find(|held| held.envelope == envelope).map(|held| held.update.clone())
        };
        let checked = ledger::check_proposal(&post.federation, &self.tip, &proposal, &known);
        let counted = match checked {
            Ok(counted) => counted,
            Err(flaw) => return Some(Err(flaw)),
        };
        self.learn_heartbeats(post, &proposal);
        let (included, quorum) = (counted.included.len(), post.roster.quorum());
        let excused = proposal.absent.iter().filter(|absent| self.excuses(post, absent)).count();
        if included + excused < quorum && !self.is_late(now, post) {
            let expected = format!("at least {quorum} updates before the deadline");
            return Some(Err(Flaw::new("included", expected, included)));
        }
        Some(Ok(Case { inputs: self.learn_updates(post, &proposal, counted) }))
    }

    /// Takes in the updates a checked proposal counts, and wants their deltas; returns them as inputs.
    fn learn_updates(
        &mut self,
        post: &mut Post,
        proposal: &Proposal,
        counted: Counted,
    ) -> Vec<AggregateInput> {
        let mut inputs = BTreeMap::new();
        for (contribution, update) in proposal.included.iter().zip(counted.included) {
            let (member, envelope) = (contribution.member, contribution.envelope.clone());
            let place = self.place_of(post, &member);
            inputs.insert(place, self.input(post, place, &update));
            self.shelf.want(update.delta, member);
            self.shelf.want(update.delta, proposal.aggregator);
            if let Some(held) = self.updates.get(&place) {
                let one = held.envelope.clone();
                self.compare(post, member, update.round, (one, envelope));
            } else {
                self.updates.insert(place, Held { update, envelope });
            }
        }
        for ((member, envelope), update) in proposal.late().zip(counted.late) {
            let place = self.place_of(post, member);
            inputs.insert(place, self.input(post, place, &update));
            self.shelf.want(update.delta, *member);
            self.shelf.want(update.delta, proposal.aggregator);
            self.keep_late(post, *member, Held { update, envelope: envelope.to_vec() });
        }
        inputs.into_values().collect()
    }

    /// Whether a member need not be waited for: its update was unusable, or it sits out.
    fn excuses(&self, post: &Post, absent: &Absent) -> bool {
        matches!(absent.why, Absence::Refused { .. })
            || self.sits_out.contains(self.place_of(post, &absent.member))
    }

    /// Takes in the heartbeats a checked proposal shows: some say that a member sits out.
    fn learn_heartbeats(&mut self, post: &Post, proposal: &Proposal) {
        for absent in &proposal.absent {
            if let (Some(progress), Some(heard)) =
                (absent.heartbeat(&post.roster), absent.heard.clone())
            {
                self.on_peer_progress(post, &absent.member, &progress, heard);
            }
        }
    }

    fn object(
        &mut self,
        post: &mut Post,
        (view, against): (View, MemberId),
        value: Digest,
        flaw: Flaw,
    ) {
        let round = self.tip.round;
        let because = flaw.to_string();
        let Flaw { field, expected, found } = flaw;
        let objection = Objection { round, view, against, value, field, expected, found };
        let (signer, message) = (post.member(), Message::Objection(objection.clone()));
        let signature = post.sign(&message);
        self.on_objection(post, Verified { signer, message: objection, signature });
        post.gossip_signed(&Verified { signer, message, signature });
        post.notice(Notice::Objection { round, against, because });
    }

    /// A verified objection of this round.
    pub fn on_objection(&mut self, post: &Post, objection: Verified<Objection>) {
        let (place, signed) = (self.place_of(post, &objection.signer), objection.signed());
        self.objections.hear(place, objection.message, signed);
    }
}
