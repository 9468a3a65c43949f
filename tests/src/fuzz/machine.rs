//! One participant, and a script for everything else: what the others say, with their own keys;
//! when time passes, work is done, connections come and go, and the machine dies.
//!
//! More than a third of the members lie here, so what they decide is worth nothing. What must hold
//! all the same: no panic; nothing held without bound; nothing signed twice, over any crash; rounds
//! that never fall; and a restart from what was durable.

use std::collections::VecDeque;
use std::sync::Arc;

use witan_protocol::codec;
use witan_protocol::digest::BlobRef;
use witan_protocol::federation::Federation;
use witan_protocol::io::{AggregateInput, Entry, Input, JobId, Output, Time};
use witan_protocol::ledger::Ledger;
use witan_protocol::member::MemberId;
use witan_protocol::participant::RestoreError;
use witan_protocol::wire::envelope::{self, Opened, RECORD_BYTES_MAX};
use witan_protocol::wire::{RoundRecord, Scores};
use witan_protocol::{Config, Participant};

use super::Script;
use super::words::{MEMBERS, Moment, Words};
use crate::invariants::{Observation, Scene, Watch};
use crate::{model, world};

/// Runs a participant through the script in `bytes`; returns how many rounds it saw committed.
///
/// # Panics
/// If something does not hold.
pub fn drive(bytes: &[u8]) -> usize {
    live(bytes).records.len()
}

/// What a participant heard, said and made durable while it lived through `bytes`: envelopes, steps
/// of the log, records. Sound bytes, to be damaged.
pub fn history(bytes: &[u8]) -> Vec<Vec<u8>> {
    let Machine { words, wal, records, .. } = live(bytes);
    [words.heard, wal, records].concat()
}

fn live(bytes: &[u8]) -> Machine {
    let mut script = Script::new(bytes);
    let mut machine = Machine::new();
    for _ in 0..STEPS_MAX {
        if script.is_over() || !machine.step(&mut script) {
            break;
        }
    }
    machine
}

struct Machine {
    config: Config,
    participant: Participant,
    ledger: Ledger,
    now: Time,
    records: Vec<Vec<u8>>,
    wal: Vec<Vec<u8>>,
    work: VecDeque<Work>,
    words: Words,
    watch: Watch,
    /// Outputs until it dies, if it is to.
    doom: Option<usize>,
}

/// Something it wants done.
enum Work {
    Train(JobId),
    Aggregate(JobId, BlobRef, Vec<AggregateInput>),
    Fetch(BlobRef),
    Adopt(JobId),
}

impl Machine {
    fn new() -> Self {
        let mut document = world::document(MEMBERS, 4);
        document.council.late_rounds = 2;
        document.council.round_deadline_s = 4;
        let federation = Arc::new(Federation::new(document).expect("the document is sound"));
        let (identity, start_adapter) = (world::identity(0), model::start());
        let config = Config { federation: Arc::clone(&federation), identity, start_adapter };
        let participant = Participant::new(config.clone(), Time(0)).expect("it has no past");
        let mut machine = Self {
            config,
            participant,
            ledger: Ledger::new(Arc::clone(&federation), start_adapter),
            now: Time(0),
            records: Vec::new(),
            wal: Vec::new(),
            work: VecDeque::new(),
            words: Words::default(),
            watch: Watch::of_one(&federation),
            doom: None,
        };
        machine.observe(&Observation::Started);
        machine.drain();
        machine
    }

    fn message(&self, via: MemberId, bytes: Vec<u8>) -> Input {
        let opened = Opened::new(bytes, self.config.federation.id());
        Input::Message { via, opened: Box::new(opened) }
    }

    /// Does the next thing in the script; false when the liars have ended it.
    fn step(&mut self, script: &mut Script<'_>) -> bool {
        let via = world::identity(1 + script.below(MEMBERS - 1)).member();
        let input = match script.below(16) {
            0..=5 => {
                let bytes = self.say(script);
                self.message(via, bytes)
            }
            6..=8 => match self.finish(script) {
                Some(input) => input,
                None => Input::Tick,
            },
            9 | 10 => {
                self.now.0 += script.one_of(&[1, 250, 1_000, 4_000, 60_000]);
                Input::Tick
            }
            11 => Input::PeerConnected(via),
            12 => Input::PeerDisconnected(via),
            13 => {
                self.doom = Some(script.below(6));
                return true;
            }
            14 => return self.restart(),
            _ if script.once_in(2) => self.message(via, script.bytes(80).to_vec()),
            _ if self.words.heard.is_empty() => Input::Tick,
            _ => self.message(via, script.one_of(&self.words.heard)),
        };
        self.participant.handle(self.now, input);
        self.drain()
    }

    fn say(&mut self, script: &mut Script<'_>) -> Vec<u8> {
        let late_rounds = self.config.federation.document().council.late_rounds;
        let (tip, view) = (self.ledger.tip(), self.participant.status().view);
        let bytes = self.words.say(script, &Moment { tip, view, late_rounds });
        self.words.keep(tip, &bytes);
        bytes
    }

    /// Finishes something it wanted done, well or badly.
    fn finish(&mut self, script: &mut Script<'_>) -> Option<Input> {
        let index = script.below(self.work.len().max(1));
        Some(match self.work.remove(index)? {
            Work::Train(job) if script.once_in(6) => {
                Input::TrainFailed { job, reason: "out of memory".to_owned() }
            }
            Work::Train(job) if script.once_in(3) => {
                self.work.push_back(Work::Train(job));
                Input::Progress { job, step: 1, steps: 8, loss: 1.0 }
            }
            Work::Train(job) => {
                let delta = BlobRef::of(&codec::encode(&(self.now, job.0, self.wal.len())));
                let steps = script.one_of(&[8, 8, 8, 0]);
                Input::Trained { job, delta, examples: 128, steps, scores: Scores::default() }
            }
            Work::Aggregate(job, start, inputs) => {
                let result = model::aggregate(start, &inputs).map(model::without_layers);
                Input::Aggregated { job, result }
            }
            Work::Fetch(blob) => Input::BlobStored(blob),
            Work::Adopt(job) => Input::Adopted { job },
        })
    }

    /// Carries out what it wants; false when the liars have ended it.
    fn drain(&mut self) -> bool {
        let mut outputs = 0;
        while let Some(output) = self.participant.poll_output() {
            if self.doom.take_if(|left| *left == 0).is_some() {
                return self.restart();
            }
            self.doom = self.doom.map(|left| left - 1);
            outputs += 1;
            self.observe(&Observation::Wants(&output));
            self.carry_out(output);
        }
        let (status, load) = (self.participant.status(), self.participant.load());
        self.observe(&Observation::Settled { status: &status, load: &load, outputs });
        if let Err(violation) = self.watch.verdict(self.now) {
            panic!("{violation}");
        }
        true
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Persist(Entry::Wal { bytes, .. }) => self.wal.push(bytes),
            Output::Persist(Entry::Record { bytes, .. }) => {
                let record: RoundRecord =
                    codec::decode(&bytes, RECORD_BYTES_MAX).expect("it wrote that itself");
                self.observe(&Observation::Persisted(&record));
                self.ledger.append(&record);
                self.records.push(bytes);
            }
            Output::Gossip(bytes) | Output::Send { bytes, .. } => {
                let tip = self.ledger.tip().clone();
                if let Ok(said) = envelope::open(&bytes, &tip.roster) {
                    self.observe(&Observation::Said(&said, &bytes));
                }
                self.words.keep(&tip, &bytes);
            }
            Output::Train { job, .. } => self.work.push_back(Work::Train(job)),
            Output::Aggregate { job, start, inputs, .. } => {
                self.work.push_back(Work::Aggregate(job, start, inputs));
            }
            Output::Fetch { blob, .. } => self.work.push_back(Work::Fetch(blob)),
            Output::Adopt { job, .. } => self.work.push_back(Work::Adopt(job)),
            Output::Roster(_) | Output::Notice(_) => {}
        }
    }

    /// Dies, and starts again from what was durable.
    fn restart(&mut self) -> bool {
        self.doom = None;
        self.work.clear();
        let (records, wal) = (self.records.clone(), self.wal.clone());
        match Participant::restore(self.config.clone(), records, wal, self.now) {
            Ok(participant) => self.participant = participant,
            // So many liars can have committed what no honest member would have voted for.
            Err(RestoreError::Ledger(_)) => return false,
            Err(error) => panic!("it does not restore: {error}"),
        }
        self.observe(&Observation::Started);
        self.drain()
    }

    fn observe(&mut self, observation: &Observation<'_>) {
        let tip = self.ledger.tip();
        let scene = Scene {
            node: 0,
            me: self.config.identity.member(),
            now: self.now,
            federation: &self.config.federation,
            roster: &tip.roster,
        };
        self.watch.observe(&scene, observation);
    }
}

/// Steps of one script: every one costs signatures.
const STEPS_MAX: usize = 400;
