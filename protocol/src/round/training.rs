//! This member's training: train once, publish the update, or announce that there will be none.

use super::{Admission, HeldUpdate, Round, WalEntry, shortened};
use crate::digest::{BlobRef, Digest};
use crate::io::{JobId, Output};
use crate::ledger::{self, Tip};
use crate::member::Round as RoundNumber;
use crate::outbox::Outbox;
use crate::wire::{Heartbeat, Kind, Message, Scores, Update, envelope};

/// How far this member's training is.
#[derive(Debug)]
pub(super) enum OwnTraining {
    /// Not begun; the vote may begin without it.
    Idle,
    /// The job runs.
    Running(JobId),
    /// The job of a closed round still runs: its update may count late. This round's training
    /// follows.
    Overrun(Overrun),
    /// The update is published.
    Published,
    /// Training failed: the signed heartbeat that announces it, for members that missed it.
    SitsOut(Vec<u8>),
}

/// A training that outlasted its round.
#[derive(Clone, Copy, Debug)]
pub(super) struct Overrun {
    pub(super) job: JobId,
    pub(super) round: RoundNumber,
    pub(super) start: Digest,
}

/// The result of a training job.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trained {
    /// The stored delta.
    pub delta: BlobRef,
    /// Samples seen.
    pub examples: u64,
    /// Steps taken.
    pub steps: u64,
    /// The member's measurements.
    pub scores: Scores,
}

impl Round {
    /// Starts training, unless it has begun or the vote has.
    pub(super) fn train(&mut self, outbox: &mut Outbox) {
        if !matches!(self.own, OwnTraining::Idle) || self.consensus.is_open() {
            return;
        }
        let (job, round, start) = (outbox.job(), self.tip.round, self.tip.adapter);
        self.own = OwnTraining::Running(job);
        outbox.push(Output::Train { job, round, start });
    }

    /// The job is under way: publishes a heartbeat.
    pub(crate) fn on_progress(
        &mut self,
        outbox: &mut Outbox,
        job: JobId,
        done: (u64, u64),
        loss: f32,
    ) {
        if let Some((round, _)) = self.trains(job) {
            let (step, steps) = done;
            let progress = Heartbeat { round, step, steps, loss, sits_out: None };
            outbox.gossip(&Message::Heartbeat(progress));
        }
    }

    /// The job is done: the update is made durable, then published.
    pub(crate) fn on_trained(&mut self, outbox: &mut Outbox, job: JobId, trained: Trained) {
        let (Some((round, start)), Some(place)) = (self.trains(job), outbox.place()) else {
            return;
        };
        let Trained { delta, examples, steps, scores } = trained;
        let codec = outbox.federation.document().training.compression;
        let update = Update { round, start, delta, codec, examples, steps, scores };
        let is_late = round < self.tip.round;
        let checked = match is_late {
            true => ledger::check_late(&outbox.federation, &self.tip, &outbox.member(), &update),
            false => ledger::check_update(&outbox.federation, &self.tip, &update),
        };
        if let Err(flaw) = checked {
            self.on_train_failed(outbox, job, &format!("own update: {flaw}"));
            return;
        }
        let envelope = outbox.seal(&Message::Update(update.clone()));
        self.log(outbox, &WalEntry::Update(envelope.clone()));
        let held = HeldUpdate { update, envelope: envelope.clone() };
        if is_late {
            self.keep_late(outbox, outbox.member(), held);
        } else {
            self.updates.insert(place, held);
        }
        self.blobs.put(delta);
        outbox.gossip_sealed(Kind::Update, round, envelope);
        self.own = OwnTraining::Published;
        self.train_after(outbox, is_late);
    }

    /// After a training that outlasted its round, trains for this one.
    fn train_after(&mut self, outbox: &mut Outbox, is_late: bool) {
        if is_late {
            self.own = OwnTraining::Idle;
            if self.began.is_some() {
                self.train(outbox);
            }
        }
    }

    /// The round that a running job trains for, and the adapter it started from.
    fn trains(&self, job: JobId) -> Option<(RoundNumber, Digest)> {
        match &self.own {
            OwnTraining::Running(running) if *running == job => {
                Some((self.tip.round, self.tip.adapter.digest))
            }
            OwnTraining::Overrun(late) if late.job == job => Some((late.round, late.start)),
            _ => None,
        }
    }

    /// The job failed: publishes that there will be no update.
    pub(crate) fn on_train_failed(&mut self, outbox: &mut Outbox, job: JobId, reason: &str) {
        let Some((of, _)) = self.trains(job) else {
            return;
        };
        if of < self.tip.round {
            return self.train_after(outbox, true);
        }
        self.sits_out.extend(outbox.place());
        let why = Some(shortened(reason, SITS_OUT_BYTES_MAX));
        let round = self.tip.round;
        let progress = Heartbeat { round, step: 0, steps: 0, loss: 0.0, sits_out: why };
        let envelope = outbox.seal(&Message::Heartbeat(progress));
        self.own = OwnTraining::SitsOut(envelope.clone());
        outbox.gossip_sealed(Kind::Heartbeat, round, envelope);
    }

    /// Whether this member's update is published, or expected.
    pub(super) fn will_contribute(&self) -> bool {
        matches!(self.own, OwnTraining::Running(_) | OwnTraining::Published)
    }

    /// A training of the round before goes on while its update may still count.
    pub(super) fn carry_over(&mut self, own: OwnTraining, before: &Tip) {
        let overrun = match own {
            OwnTraining::Running(job) => {
                Some(Overrun { job, round: before.round, start: before.adapter.digest })
            }
            OwnTraining::Overrun(overrun) => Some(overrun),
            _ => None,
        };
        self.own = overrun
            .filter(|overrun| !self.last && self.tip.lateness.admits(overrun.round))
            .map_or(OwnTraining::Idle, OwnTraining::Overrun);
    }

    /// The signed heartbeat by which this member sits the round out.
    pub(crate) fn excuse(&self) -> Option<&[u8]> {
        match &self.own {
            OwnTraining::SitsOut(envelope) => Some(envelope),
            _ => None,
        }
    }

    /// The update of before a restart is published again; nothing is trained again.
    pub(super) fn restore_update(&mut self, outbox: &mut Outbox, envelope: Vec<u8>) {
        let Ok(opened) = envelope::open(&envelope, &outbox.roster) else {
            return;
        };
        let (Message::Update(update), Some(place)) = (opened.message, outbox.place()) else {
            return;
        };
        let round = update.round;
        let held = HeldUpdate { update, envelope: envelope.clone() };
        if opened.signer != outbox.member() {
            return;
        } else if round < self.tip.round {
            let HeldUpdate { update, envelope } = held;
            if self.on_late_update(outbox, opened.signer, update, envelope) != Admission::New {
                return;
            }
        } else {
            self.own = OwnTraining::Published;
            self.blobs.want(held.update.delta, opened.signer);
            self.updates.insert(place, held);
        }
        outbox.gossip_sealed(Kind::Update, round, envelope);
    }
}

/// Bytes of a reason that are sent: such a heartbeat fits into a record.
const SITS_OUT_BYTES_MAX: usize = 120;
