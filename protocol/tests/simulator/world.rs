//! A federation in one thread: virtual time, a seeded network that delays and loses, disks that
//! survive crashes, and a stand-in for the model whose aggregate anyone can recompute.

#[path = "links.rs"]
mod links;
#[path = "node.rs"]
mod node;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use witan_protocol::digest::{BlobRef, Digest};
use witan_protocol::envelope;
use witan_protocol::federation::{
    Council, Document, FaultModel, Federation, Lora, Member, Training,
};
use witan_protocol::io::{AggregateInput, Entry, Input, JobId, Notice, Output, Time};
use witan_protocol::ledger::Audited;
use witan_protocol::member::{MemberId, Round};
use witan_protocol::message::Message;
use witan_protocol::record::Scores;
use witan_protocol::{Config, Identity, Participant};

pub use node::Node;

/// How the network and the machines behave.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// Messages lost, of a thousand.
    pub loss_permille: u32,
    /// Longest delay of a message; the shortest is 1.
    pub delay_ms: u64,
    /// How long training takes at most; at least half of it.
    pub train_ms: u64,
}

pub const FAIR: Weather = Weather { loss_permille: 0, delay_ms: 40, train_ms: 400 };
pub const ROUGH: Weather = Weather { loss_permille: 50, delay_ms: 150, train_ms: 2000 };

/// What happens to one node.
enum Event {
    Input(Input),
    Wake,
}

pub struct World {
    pub now: Time,
    pub federation: Arc<Federation>,
    pub nodes: Vec<Node>,
    pub weather: Weather,
    /// Crash this node after that many more of its outputs.
    pub crash_after: Option<(usize, u64)>,
    start: BlobRef,
    random: ChaCha8Rng,
    queue: BinaryHeap<Reverse<(Time, u64, usize, u64)>>,
    events: BTreeMap<u64, Event>,
    sequence: u64,
}

impl World {
    pub fn new(size: usize, rounds: u64, seed: u64, weather: Weather) -> Self {
        Self::with(size, rounds, seed, weather, |_| ())
    }

    pub fn with(
        size: usize,
        rounds: u64,
        seed: u64,
        weather: Weather,
        change: impl FnOnce(&mut Document),
    ) -> Self {
        let mut document = document(size, rounds);
        change(&mut document);
        let federation = Arc::new(Federation::new(document).unwrap());
        let start = BlobRef::of(b"start");
        let roster = federation.founders();
        let nodes = (0..size).map(|n| Node::new(n, start, roster)).collect();
        let mut world = Self {
            now: Time(0),
            federation,
            nodes,
            weather,
            crash_after: None,
            start,
            random: ChaCha8Rng::seed_from_u64(seed),
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            sequence: 0,
        };
        (0..size).for_each(|node| world.start(node));
        world
    }

    /// Starts a node from its disk and connects it with everyone running.
    pub fn start(&mut self, node: usize) {
        let config = Config {
            federation: self.federation.clone(),
            identity: self.nodes[node].identity.clone(),
            start_adapter: self.start,
        };
        let (records, wal) = (self.nodes[node].records.clone(), self.nodes[node].wal.clone());
        let participant = Participant::restore(config, records, wal, self.now);
        self.nodes[node].finished = false;
        self.nodes[node].participant = Some(participant.expect("a disk restores"));
        self.nodes[node].roster = self.federation.founders().clone();
        self.drain(node);
        for other in (0..self.nodes.len()).filter(|other| *other != node) {
            if self.are_connected(node, other) {
                self.connect(node, other);
            }
        }
    }

    /// Kills a node; what it persisted stays.
    pub fn crash(&mut self, node: usize) {
        self.nodes[node].participant = None;
        self.nodes[node].life += 1;
        let me = self.id(node);
        for other in 0..self.nodes.len() {
            if other != node {
                self.push(other, 10, Event::Input(Input::PeerDisconnected(me)));
            }
        }
    }

    /// Runs until `done` or virtual time `until_ms`; true if `done`.
    pub fn run(&mut self, until_ms: u64, mut done: impl FnMut(&World) -> bool) -> bool {
        while !done(self) {
            let Some(Reverse((at, sequence, node, life))) = self.queue.pop() else {
                return false;
            };
            if at.0 > until_ms {
                self.queue.push(Reverse((at, sequence, node, life)));
                return false;
            }
            self.now = at;
            let event = self.events.remove(&sequence).unwrap();
            if self.nodes[node].life != life {
                continue;
            }
            let Some(participant) = self.nodes[node].participant.as_mut() else {
                continue;
            };
            match event {
                Event::Input(input) => participant.handle(at, input),
                Event::Wake if participant.next_timeout().is_some_and(|due| due <= at) => {
                    participant.handle(at, Input::Tick);
                }
                Event::Wake => continue,
            }
            self.drain(node);
        }
        true
    }

    pub fn id(&self, node: usize) -> MemberId {
        self.nodes[node].identity.member()
    }

    pub fn node_of(&self, member: &MemberId) -> usize {
        self.find(member).unwrap()
    }

    fn find(&self, member: &MemberId) -> Option<usize> {
        self.nodes.iter().position(|node| node.identity.member() == *member)
    }

    pub fn alive(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.participant.is_some())
    }

    /// Every running node of a member has finished.
    pub fn finished(&self) -> bool {
        let mut members = self.alive().filter(|node| node.roster.contains(&node.identity.member()));
        members.all(|node| {
            node.finished && node.records.len() as u64 == self.federation.document().training.rounds
        })
    }

    /// No two nodes committed different things, and every chain audits.
    pub fn check(&self) {
        let longest = self.nodes.iter().max_by_key(|node| node.records.len()).unwrap();
        let audit = |node: &Node| {
            let records = node.records.iter().map(Vec::as_slice);
            witan_protocol::ledger::audit(&self.federation, self.start, records).unwrap()
        };
        let chain = audit(longest);
        for audited in &chain {
            assert_eq!(audited.record.proposal.result, Self::honest_result(audited));
        }
        for node in &self.nodes {
            for (ours, theirs) in audit(node).iter().zip(&chain) {
                assert_eq!(ours.record.digest(), theirs.record.digest(), "two heads for one round");
            }
        }
    }

    fn honest_result(audited: &Audited) -> BlobRef {
        let proposal = &audited.record.proposal;
        let inputs = proposal.included.iter().map(|contribution| {
            let opened = envelope::open(&contribution.envelope, &audited.roster).unwrap();
            let Message::Update(update) = opened.message else { panic!("not an update") };
            let member = audited.roster.member(&contribution.member).unwrap();
            let weight = update.steps * u64::from(member.weight);
            AggregateInput { member: contribution.member, delta: update.delta, weight }
        });
        aggregate(proposal.start, &inputs.collect::<Vec<_>>())
    }

    fn push(&mut self, node: usize, delay_ms: u64, event: Event) {
        self.sequence += 1;
        let at = Time(self.now.0 + delay_ms);
        self.queue.push(Reverse((at, self.sequence, node, self.nodes[node].life)));
        self.events.insert(self.sequence, event);
    }

    fn drain(&mut self, node: usize) {
        while let Some(participant) = self.nodes[node].participant.as_mut() {
            let Some(output) = participant.poll_output() else {
                break;
            };
            self.carry_out(node, output);
            if let Some((victim, left)) = self.crash_after.as_mut().filter(|(v, _)| *v == node) {
                *left -= 1;
                if *left == 0 {
                    let victim = *victim;
                    self.crash_after = None;
                    self.crash(victim);
                    return;
                }
            }
        }
        if let Some(at) = self.nodes[node].participant.as_ref().and_then(|p| p.next_timeout()) {
            let delay = at.0.saturating_sub(self.now.0).max(1);
            self.push(node, delay, Event::Wake);
        }
    }

    fn carry_out(&mut self, node: usize, output: Output) {
        match output {
            Output::Persist(Entry::Wal { bytes, .. }) => self.nodes[node].wal.push(bytes),
            Output::Persist(Entry::Record { bytes, .. }) => self.nodes[node].records.push(bytes),
            Output::Gossip(bytes) => {
                self.watch(node, &bytes);
                let twisted = self.twist(node, &bytes);
                for other in (0..self.nodes.len()).filter(|other| *other != node) {
                    // Gossip floods: in the end both versions are everywhere.
                    if let Some(twisted) = twisted.as_ref().filter(|_| other % 2 == 0) {
                        self.deliver(node, other, twisted.clone());
                    }
                    self.deliver(node, other, bytes.clone());
                }
            }
            Output::Send { to, bytes } => {
                if let Some(other) = self.find(&to) {
                    self.deliver(node, other, bytes);
                }
            }
            Output::Roster(roster) => self.follow(node, roster),
            Output::Train { job, round, start } => self.train(node, job, round, start),
            Output::Aggregate { job, start, inputs, .. } => {
                for input in &inputs {
                    assert!(self.nodes[node].blobs.contains(&input.delta.digest));
                }
                let mut result = aggregate(start, &inputs);
                if self.nodes[node].lies {
                    result = BlobRef::of(&result.digest.0);
                }
                self.nodes[node].blobs.insert(result.digest);
                let input = Input::Aggregated { job, result: Ok(result) };
                self.push(node, 20, Event::Input(input));
            }
            Output::Fetch { blob, holders } => {
                let here = self.nodes[node].blobs.contains(&blob.digest);
                let source = holders.iter().filter_map(|holder| self.find(holder)).find(|holder| {
                    self.are_connected(node, *holder)
                        && self.nodes[*holder].blobs.contains(&blob.digest)
                });
                if here || source.is_some() {
                    if !here {
                        self.nodes[node].fetched.push(blob.digest);
                    }
                    self.nodes[node].blobs.insert(blob.digest);
                    let delay = self.random.random_range(1..=self.weather.delay_ms);
                    self.push(node, delay, Event::Input(Input::BlobStored(blob.digest)));
                }
            }
            Output::Adopt { job, adapter, .. } => {
                assert!(self.nodes[node].blobs.contains(&adapter.digest));
                self.push(node, 10, Event::Input(Input::Adopted { job }));
            }
            Output::Notice(notice) => {
                self.nodes[node].finished |= notice == Notice::Finished;
                self.nodes[node].notices.push((self.now, notice));
            }
        }
    }

    fn train(&mut self, node: usize, job: JobId, round: Round, start: BlobRef) {
        assert!(self.nodes[node].blobs.contains(&start.digest));
        if let Some(reason) = self.nodes[node].fails {
            let input = Input::TrainFailed { job, reason: reason.into() };
            return self.push(node, 100, Event::Input(input));
        }
        self.nodes[node].trained.push(round);
        let delta = BlobRef::of(&[&start.digest.0[..], &self.id(node).0].concat());
        self.nodes[node].blobs.insert(delta.digest);
        let half = self.weather.train_ms / 2;
        let takes = half + self.random.random_range(0..=half);
        let (examples, steps, scores) = (128, 8, Scores::default());
        let input = Input::Trained { job, delta, examples, steps, scores };
        self.push(node, takes, Event::Input(input));
    }

    fn deliver(&mut self, from: usize, to: usize, bytes: Vec<u8>) {
        if self.random.random_range(0..1000) < self.weather.loss_permille
            || !self.are_connected(from, to)
        {
            return;
        }
        let delay = self.random.random_range(1..=self.weather.delay_ms);
        let via = self.id(from);
        self.push(to, delay, Event::Input(Input::Message { via, bytes }));
    }
}

/// A stand-in for the model: any function of start and inputs will do.
fn aggregate(start: BlobRef, inputs: &[AggregateInput]) -> BlobRef {
    let mut bytes = start.digest.0.to_vec();
    for input in inputs {
        bytes.extend_from_slice(&input.member.0);
        bytes.extend_from_slice(&input.delta.digest.0);
        bytes.extend_from_slice(&input.weight.to_be_bytes());
    }
    BlobRef::of(&bytes)
}

fn document(size: usize, rounds: u64) -> Document {
    let member = |n: usize| Member {
        name: format!("member-{n:02}"),
        key: Identity::from_seed([n as u8 + 1; 32]).member(),
        addresses: Vec::new(),
        weight: 1,
    };
    Document {
        name: "simulated".into(),
        seed: 1,
        base: Digest([9; 32]),
        bootstrap: Vec::new(),
        lora: Lora { rank: 8, alpha: 16.0, dropout: 0.0, targets: vec!["q".into()] },
        training: Training {
            rounds,
            local_steps: 8,
            batch_questions: 12,
            batch_captions: 4,
            learning_rate: 2e-3,
            learning_rate_final: 2e-3,
            weight_decay: 0.0,
            strategy: "fedavg".into(),
        },
        council: Council {
            fault_model: FaultModel::Byzantine,
            round_deadline_s: 60,
            view_timeout_ms: 2000,
        },
        members: (0..size).map(member).collect(),
    }
}
