//! The own part: train once, publish the update, say when there will be none.

use super::collecting::cut;
use super::{Held, Memory, Round};
use crate::digest::BlobRef;
use crate::envelope;
use crate::io::{JobId, Kind, Output};
use crate::message::{Message, Progress};
use crate::post::Post;
use crate::record::{Scores, Update};

/// What this member does for the round.
#[derive(Debug)]
pub(super) enum Own {
    /// Nothing yet, or nothing any more: the vote began without it.
    Idle,
    /// The job runs.
    Training(JobId),
    /// The update is out.
    Published,
    /// Training failed: the signed word of it, for those who have not heard.
    SitsOut(Vec<u8>),
}

/// What a training job brought.
#[derive(Clone, Copy, Debug)]
pub struct Result {
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
        if matches!(self.own, Own::Training(running) if running == job) {
            let (round, (step, steps)) = (self.tip.round, done);
            let progress = Progress { round, step, steps, loss, sits_out: None };
            post.gossip(&Message::Progress(progress));
        }
    }

    /// The job is done: the update is remembered, then published.
    pub fn on_trained(&mut self, post: &mut Post, job: JobId, result: Result) {
        if !matches!(self.own, Own::Training(running) if running == job) {
            return;
        }
        let Some(place) = post.place() else {
            return;
        };
        let Result { delta, examples, steps, scores } = result;
        let (round, start) = (self.tip.round, self.tip.adapter.digest);
        let codec = post.federation.document().training.compression;
        let update = Update { round, start, delta, codec, examples, steps, scores };
        if let Err(flaw) = crate::ledger::check_update(&post.federation, &self.tip, &update) {
            self.on_train_failed(post, job, &format!("own update: {flaw}"));
            return;
        }
        let envelope = post.seal(&Message::Update(update.clone()));
        self.remember(post, &Memory::Update(envelope.clone()));
        self.shelf.put(delta);
        self.own = Own::Published;
        self.updates.insert(place, Held { update, envelope: envelope.clone() });
        post.gossip_sealed(Kind::Update, round, envelope);
    }

    /// The job failed: others are told not to wait.
    pub fn on_train_failed(&mut self, post: &mut Post, job: JobId, reason: &str) {
        if !matches!(self.own, Own::Training(running) if running == job) {
            return;
        }
        self.sits_out.extend(post.place());
        let why = Some(cut(reason, SITS_OUT_BYTES_MAX));
        let round = self.tip.round;
        let progress = Progress { round, step: 0, steps: 0, loss: 0.0, sits_out: why };
        let envelope = post.seal(&Message::Progress(progress));
        self.own = Own::SitsOut(envelope.clone());
        post.gossip_sealed(Kind::Progress, round, envelope);
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
        if opened.signer != post.member() || update.round != self.tip.round {
            return;
        }
        self.own = Own::Published;
        self.shelf.want(update.delta, post.member());
        self.updates.insert(place, Held { update, envelope: envelope.clone() });
        post.gossip_sealed(Kind::Update, self.tip.round, envelope);
    }
}

/// Bytes of a reason that travel: such a heartbeat fits into a record.
const SITS_OUT_BYTES_MAX: usize = 120;
