//! The own part: train once, publish the update, say when there will be none.

use super::{Filed, Held, Memory, Round, cut};
use crate::digest::{BlobRef, Digest};
use crate::io::{JobId, Output};
use crate::ledger::{self, Tip};
use crate::member::Round as RoundNumber;
use crate::outbox::Post;
use crate::wire::{Kind, Message, Progress, Scores, Update, envelope};

/// What this member does for the round.
#[derive(Debug)]
pub(super) enum Own {
    /// Nothing yet, or nothing any more: the vote began without it.
    Idle,
    /// The job runs.
    Training(JobId),
    /// A job of a closed round still runs: its update may count late. Then this round's begins.
    Outlasting(Outlasting),
    /// The update is out.
    Published,
    /// Training failed: the signed word of it, for those who have not heard.
    SitsOut(Vec<u8>),
}

/// A training that outlasted its round.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outlasting {
    pub(super) job: JobId,
    pub(super) round: RoundNumber,
    pub(super) start: Digest,
}

/// What a training job brought.
#[derive(Clone, Copy, Debug)]
pub struct Trained {
    /// The stored delta.
    pub delta: BlobRef,
    /// Samples seen.
    pub examples: u64,
    /// Steps taken.
    pub steps: u64,
    /// Measured.
    pub scores: Scores,
}

impl Round {
    /// Starts training, unless that is done or the council votes already.
    pub(super) fn train(&mut self, post: &mut Post) {
        if !matches!(self.own, Own::Idle) || self.council.is_open() {
            return;
        }
        let (job, round, start) = (post.job(), self.tip.round, self.tip.adapter);
        self.own = Own::Training(job);
        post.push(Output::Train { job, round, start });
    }

    /// The job is under way: others are told that slow is not dead.
    pub fn on_progress(&mut self, post: &mut Post, job: JobId, done: (u64, u64), loss: f32) {
        if let Some((round, _)) = self.trains(job) {
            let (step, steps) = done;
            let progress = Progress { round, step, steps, loss, sits_out: None };
            post.gossip(&Message::Progress(progress));
        }
    }

    /// The job is done: the update is remembered, then published.
    pub fn on_trained(&mut self, post: &mut Post, job: JobId, trained: Trained) {
        let (Some((round, start)), Some(place)) = (self.trains(job), post.place()) else {
            return;
        };
        let Trained { delta, examples, steps, scores } = trained;
        let codec = post.federation.document().training.compression;
        let update = Update { round, start, delta, codec, examples, steps, scores };
        let is_late = round < self.tip.round;
        let checked = match is_late {
            true => ledger::check_late(&post.federation, &self.tip, &post.member(), &update),
            false => ledger::check_update(&post.federation, &self.tip, &update),
        };
        if let Err(flaw) = checked {
            self.on_train_failed(post, job, &format!("own update: {flaw}"));
            return;
        }
        let envelope = post.seal(&Message::Update(update.clone()));
        self.remember(post, &Memory::Update(envelope.clone()));
        let held = Held { update, envelope: envelope.clone() };
        if is_late {
            self.keep_late(post, post.member(), held);
        } else {
            self.updates.insert(place, held);
        }
        self.shelf.put(delta);
        post.gossip_sealed(Kind::Update, round, envelope);
        self.own = Own::Published;
        self.train_after(post, is_late);
    }

    /// After a training that outlasted its round, this round's.
    fn train_after(&mut self, post: &mut Post, is_late: bool) {
        if is_late {
            self.own = Own::Idle;
            if self.began.is_some() {
                self.train(post);
            }
        }
    }

    /// The round that a running job trains for, and the adapter it began with.
    fn trains(&self, job: JobId) -> Option<(RoundNumber, Digest)> {
        match &self.own {
            Own::Training(running) if *running == job => {
                Some((self.tip.round, self.tip.adapter.digest))
            }
            Own::Outlasting(late) if late.job == job => Some((late.round, late.start)),
            _ => None,
        }
    }

    /// The job failed: others are told not to wait.
    pub fn on_train_failed(&mut self, post: &mut Post, job: JobId, reason: &str) {
        let Some((of, _)) = self.trains(job) else {
            return;
        };
        if of < self.tip.round {
            return self.train_after(post, true);
        }
        self.sits_out.extend(post.place());
        let why = Some(cut(reason, SITS_OUT_BYTES_MAX));
        let round = self.tip.round;
        let progress = Progress { round, step: 0, steps: 0, loss: 0.0, sits_out: why };
        let envelope = post.seal(&Message::Progress(progress));
        self.own = Own::SitsOut(envelope.clone());
        post.gossip_sealed(Kind::Progress, round, envelope);
    }

    /// Whether the own update is out, or on its way.
    pub(super) fn will_contribute(&self) -> bool {
        matches!(self.own, Own::Training(_) | Own::Published)
    }

    /// A training of the round before goes on while its update may still count.
    pub(super) fn outlast(&mut self, own: Own, before: &Tip) {
        let outlasting = match own {
            Own::Training(job) => {
                Some(Outlasting { job, round: before.round, start: before.adapter.digest })
            }
            Own::Outlasting(outlasting) => Some(outlasting),
            _ => None,
        };
        self.own = outlasting
            .filter(|outlasting| !self.last && self.tip.lateness.admits(outlasting.round))
            .map_or(Own::Idle, Own::Outlasting);
    }

    /// The own word, signed, that there will be no update.
    pub fn excuse(&self) -> Option<&[u8]> {
        match &self.own {
            Own::SitsOut(envelope) => Some(envelope),
            _ => None,
        }
    }

    /// The own update of before a crash: published again, not trained again.
    pub(super) fn recall_update(&mut self, post: &mut Post, envelope: Vec<u8>) {
        let Ok(opened) = envelope::open(&envelope, &post.roster) else {
            return;
        };
        let (Message::Update(update), Some(place)) = (opened.message, post.place()) else {
            return;
        };
        let round = update.round;
        let held = Held { update, envelope: envelope.clone() };
        if opened.signer != post.member() {
            return;
        } else if round < self.tip.round {
            let Held { update, envelope } = held;
            if self.on_late_update(post, opened.signer, update, envelope) != Filed::New {
                return;
            }
        } else {
            self.own = Own::Published;
            self.shelf.want(held.update.delta, opened.signer);
            self.updates.insert(place, held);
        }
        post.gossip_sealed(Kind::Update, round, envelope);
    }
}

/// Bytes of a reason that travel: such a heartbeat fits into a record.
const SITS_OUT_BYTES_MAX: usize = 120;
