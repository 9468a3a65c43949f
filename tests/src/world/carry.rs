//! Carries out the outputs of participants: the disk, the network, the jobs. Outputs run in order,
//! and a member may die between any two of them.

use std::rc::Rc;
use std::sync::Arc;

use rand::RngExt;
use witan_protocol::codec;
use witan_protocol::digest::BlobRef;
use witan_protocol::io::{AggregateInput, Entry, Input, JobId, Notice, Output, Time};
use witan_protocol::member::{MemberId, Round};
use witan_protocol::wire::envelope::{Opened, RECORD_BYTES_MAX};
use witan_protocol::wire::{Kind, RoundRecord, Scores};

use super::World;
use super::queue::Event;
use crate::byzantine::Workshop;
use crate::coverage::Seen;
use crate::faults::Point;
use crate::invariants::Observation;
use crate::lies::Lie;
use crate::model;

impl World {
    /// Does everything a member wants done, unless it dies over it.
    pub(super) fn drain(&mut self, node: usize) {
        let mut outputs = 0;
        while let Some(participant) = self.nodes[node].participant.as_mut() {
            let Some(output) = participant.poll_output() else {
                break;
            };
            outputs += 1;
            let is_durable = matches!(output, Output::Persist(_));
            if is_durable && self.dies(node, Point::BeforePersist) {
                return;
            }
            if self.is_verbose {
                self.trace(node).output(&output);
            }
            self.carry_out(node, output);
            if is_durable && self.dies(node, Point::AfterPersist) || self.dies_after_output(node) {
                return;
            }
        }
        if let Some(participant) = &self.nodes[node].participant {
            let (status, load) = (participant.status(), participant.load());
            self.observe(node, &Observation::Settled { status: &status, load: &load, outputs });
            self.wake(node);
        }
    }

    /// Makes sure that a member is woken in time.
    pub(super) fn wake(&mut self, node: usize) {
        let due = self.nodes[node].participant.as_ref().and_then(|p| p.next_timeout());
        let Some(due) = due.map(|due| due.max(Time(self.now.0 + 1))) else {
            return;
        };
        if self.nodes[node].wakes.is_none_or(|wakes| due < wakes) {
            self.nodes[node].wakes = Some(due);
            self.push(node, due.0 - self.now.0, Event::Wake);
        }
    }

    fn dies(&mut self, node: usize, at: Point) -> bool {
        let Some((_, down_ms)) = self.nodes[node].doom.filter(|(point, _)| *point == at) else {
            return false;
        };
        self.coverage.saw(match at {
            Point::BeforePersist => Seen::CrashBeforePersist,
            _ => Seen::CrashAfterPersist,
        });
        self.die(node, down_ms);
        true
    }

    fn dies_after_output(&mut self, node: usize) -> bool {
        let Some((Point::AfterOutputs(left), down_ms)) = self.nodes[node].doom else {
            return false;
        };
        if left > 1 {
            self.nodes[node].doom = Some((Point::AfterOutputs(left - 1), down_ms));
            return false;
        }
        self.coverage.saw(Seen::CrashBetweenOutputs);
        self.die(node, down_ms);
        true
    }

    fn carry_out(&mut self, node: usize, output: Output) {
        self.observe(node, &Observation::Wants(&output));
        match output {
            Output::Persist(Entry::Wal { bytes, .. }) => self.nodes[node].wal.push(bytes),
            Output::Persist(Entry::Record { bytes, .. }) => self.persist_record(node, bytes),
            Output::Gossip(bytes) => {
                let others: Vec<_> = (0..self.nodes.len()).filter(|n| *n != node).collect();
                self.send(node, bytes, &others);
            }
            Output::Send { to, bytes } => {
                let to = self.find(&to);
                self.send(node, bytes, to.as_slice());
            }
            Output::Roster(roster) => self.follow(node, roster),
            Output::Train { job, round, start } => self.train(node, job, round, start),
            Output::Aggregate { job, start, inputs, .. } => {
                self.aggregate(node, job, start, &inputs);
            }
            Output::Fetch { blob, holders } => self.fetch(node, blob, &holders),
            Output::Adopt { job, adapter, .. } => {
                self.need(node, &adapter);
                self.push(node, 10, Event::Input(Input::Adopted { job }));
            }
            Output::Notice(notice) => self.take_notice(node, notice),
        }
    }

    fn persist_record(&mut self, node: usize, bytes: Vec<u8>) {
        match codec::decode::<RoundRecord>(&bytes, RECORD_BYTES_MAX) {
            Ok(record) => {
                if record.proposal.late().next().is_some() {
                    self.coverage.saw(Seen::LateUpdate);
                }
                self.observe(node, &Observation::Persisted(&record));
            }
            Err(error) => self.watch.blame(node, "persists records", error.to_string()),
        }
        self.nodes[node].records.push(bytes);
    }

    /// A member sends a message; a liar may send others instead.
    fn send(&mut self, node: usize, bytes: Vec<u8>, to: &[usize]) {
        let roster = Arc::clone(&self.nodes[node].roster);
        let federation = self.federation.id();
        let envelope = self.envelopes.open(bytes, federation);
        if self.is_verbose {
            self.trace(node).sent(&envelope, to);
        }
        match envelope.message() {
            Ok(verified) if roster.contains(&verified.signer) => {
                self.observe(node, &Observation::Said(verified, envelope.bytes()));
            }
            // A former member still sends its holdings.
            Ok(verified) if verified.signer == self.id(node) => {}
            Ok(verified) => {
                self.watch.blame(node, "sends messages of members", verified.signer.short())
            }
            Err(refusal) => self.watch.blame(node, "sends what opens", refusal.to_string()),
        }
        let Some(mut liar) = self.nodes[node].liar.take() else {
            to.iter().for_each(|to| self.deliver(node, *to, &envelope));
            return;
        };
        let mut workshop = Workshop {
            roster: &roster,
            late_rounds: self.federation.document().council.late_rounds,
            identity: &self.nodes[node].identity,
            place: node,
            random: &mut self.random,
            coverage: &mut self.coverage,
            blobs: Vec::new(),
        };
        let mail = liar.mail(&mut workshop, &envelope, to);
        let blobs = workshop.blobs;
        self.nodes[node].blobs.extend(blobs);
        self.nodes[node].liar = Some(liar);
        for (to, bytes) in mail {
            let envelope = self.envelopes.open(bytes, federation);
            self.deliver(node, to, &envelope);
        }
    }

    fn deliver(&mut self, from: usize, to: usize, envelope: &Rc<Opened>) {
        if !self.know_each_other(from, to) {
            return;
        }
        let way = (self.now.0, from, to);
        let arrivals = self.links.arrivals(way, &mut self.random, &mut self.coverage);
        let via = self.id(from);
        for delay in arrivals.into_iter().flatten() {
            let opened = envelope.clone();
            self.push(to, delay, Event::Message { via, opened });
        }
        if let Some(liar) = &mut self.nodes[to].liar {
            liar.keep(envelope);
        }
    }

    fn train(&mut self, node: usize, job: JobId, round: Round, start: BlobRef) {
        self.need(node, &start);
        if let Some(reason) = self.nodes[node].fails {
            let input = Input::TrainFailed { job, reason: reason.to_owned() };
            return self.push(node, 100, Event::Input(input));
        }
        let attempt = self.nodes[node].trained.len() as u64;
        self.nodes[node].trained.push(round);
        let mut delta = model::delta(start, self.id(node), attempt);
        if self.lies(node, Lie::UnusableUpdate) {
            delta = model::unusable(delta);
            self.coverage.saw(Seen::Lie(Lie::UnusableUpdate));
        }
        self.nodes[node].blobs.insert(delta);
        let half = self.links.weather.train_ms / 2;
        let takes = half + self.random.random_range(0..=half);
        let takes = takes * self.nodes[node].slowness;
        if self.nodes[node].slowness > 1 {
            self.coverage.saw(Seen::SlowTrainer);
        }
        for second in 0..takes / 1000 {
            let (step, steps, loss) = (second, 8, 1.0);
            let input = Input::Progress { job, step, steps, loss };
            self.push(node, second * 1000, Event::Input(input));
        }
        if self.random.random_range(0..1000) < self.links.weather.fail_permille {
            self.coverage.saw(Seen::TrainFailed);
            let reason = "out of memory".to_owned();
            return self.push(node, takes, Event::Input(Input::TrainFailed { job, reason }));
        }
        let (examples, steps, scores) = (128, 8, Scores::default());
        let input = Input::Trained { job, delta, examples, steps, scores };
        self.push(node, takes, Event::Input(input));
    }

    fn aggregate(&mut self, node: usize, job: JobId, start: BlobRef, inputs: &[AggregateInput]) {
        inputs.iter().for_each(|input| self.need(node, &input.delta));
        let result = model::aggregate(start, inputs);
        if let Ok(blob) = &result {
            self.nodes[node].blobs.insert(*blob);
        }
        let result = result.map(model::without_layers);
        self.push(node, 20, Event::Input(Input::Aggregated { job, result }));
    }

    fn fetch(&mut self, node: usize, blob: BlobRef, holders: &[MemberId]) {
        if self.nodes[node].blobs.contains(&blob) {
            return self.push(node, 1, Event::Blob(blob));
        }
        let holders: Vec<_> = holders.iter().filter_map(|holder| self.find(holder)).collect();
        let serves = holders.into_iter().find(|holder| self.serves(*holder, node, &blob));
        if serves.is_some() {
            self.nodes[node].fetched.push(blob);
            let delay = self.links.delay(&mut self.random, &mut self.coverage);
            self.push(node, delay, Event::Blob(blob));
        }
    }

    fn serves(&mut self, holder: usize, to: usize, blob: &BlobRef) -> bool {
        let here = self.nodes[holder].blobs.contains(blob);
        if !(here && self.are_connected(holder, to)) {
            return false;
        }
        // A liar that gives its blobs to one member only is worse than one that gives none.
        let withheld = self.lies(holder, Lie::Withholds) && to != (holder + 1) % self.nodes.len();
        if withheld {
            self.coverage.saw(Seen::Lie(Lie::Withholds));
        }
        !withheld
    }

    fn take_notice(&mut self, node: usize, notice: Notice) {
        match &notice {
            Notice::Finished => self.nodes[node].finished = true,
            Notice::ViewFailed { .. } => self.coverage.saw(Seen::ViewFailed),
            Notice::Stalled { .. } => self.coverage.saw(Seen::Stalled),
            Notice::Accepted { kind: Kind::Record, .. } => {
                self.nodes[node].caught_up += 1;
                self.coverage.saw(Seen::CaughtUp);
            }
            _ => {}
        }
        if !matches!(notice, Notice::Sent { .. } | Notice::Accepted { .. }) {
            self.nodes[node].notices.push((self.now, notice));
        }
    }

    fn lies(&self, node: usize, lie: Lie) -> bool {
        self.nodes[node].liar.as_ref().is_some_and(|liar| liar.tells(lie))
    }

    /// What a participant builds on must be here.
    fn need(&mut self, node: usize, blob: &BlobRef) {
        if !self.nodes[node].blobs.contains(blob) {
            let what = format!("{} is not here", blob.digest.short());
            self.watch.blame(node, "builds on stored blobs", what);
        }
    }
}
