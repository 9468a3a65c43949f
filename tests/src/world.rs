//! A federation in one thread: the real participants, virtual time, disks that survive crashes, and
//! one seed that drives everything around them.
//!
//! [`World::step`] handles one event and lets every invariant look at all that came of it. Nothing
//! here decides anything for a participant: it only carries out what their outputs ask for.

mod carry;
mod envelopes;
mod membership;
mod node;
mod queue;
mod trace;
mod trouble;

use std::sync::Arc;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use witan_protocol::digest::Digest;
use witan_protocol::federation::{
    Compression, Council, Document, FaultModel, Federation, Lora, Member, Strategy, Training,
};
use witan_protocol::io::{Input, Time};
use witan_protocol::member::MemberId;
use witan_protocol::wire::envelope::Opened;
use witan_protocol::{Config, Identity, Participant};

use crate::byzantine::Liar;
use crate::coverage::{Coverage, Seen};
use crate::faults::{Fault, Plan};
use crate::invariants::{Observation, Scene, Violation, Watch};
use crate::lies::Lie;
use crate::link::{Links, Weather};
use crate::model;
use envelopes::Envelopes;
pub use node::Node;
use queue::{Event, EventQueue};
use trace::Trace;

/// A federation under test.
pub struct World {
    /// What is being replayed, for messages about failures.
    pub seed: u64,
    /// Virtual time.
    pub now: Time,
    /// The federation.
    pub federation: Arc<Federation>,
    /// The founders, in roster order; then whoever came later.
    pub nodes: Vec<Node>,
    /// The network.
    pub links: Links,
    /// What happened to it so far.
    pub coverage: Coverage,
    /// What must hold.
    pub watch: Watch,
    /// Prints every event.
    pub is_verbose: bool,
    envelopes: Envelopes,
    random: ChaCha8Rng,
    events: EventQueue,
}

impl World {
    /// A federation where only the weather is against it.
    pub fn new(size: usize, rounds: u64, seed: u64, weather: Weather) -> Self {
        Self::with(document(size, rounds), seed, weather)
    }

    /// The same, for a federation of its own.
    pub fn with(document: Document, seed: u64, weather: Weather) -> Self {
        let mut world = Self::at_rest(document, seed, weather);
        world.begin();
        world
    }

    /// A federation with the faults of `plan`.
    pub fn planned(document: Document, seed: u64, plan: &Plan) -> Self {
        let mut world = Self::at_rest(document, seed, plan.weather);
        for (node, lies) in &plan.liars {
            world.corrupt(*node, lies);
        }
        for (node, times) in &plan.slow {
            world.nodes[*node].slowness = *times;
        }
        for (at, fault) in &plan.faults {
            world.schedule(*at, fault.clone());
        }
        world.begin();
        world
    }

    /// A federation in which nobody runs yet.
    pub fn at_rest(document: Document, seed: u64, weather: Weather) -> Self {
        let federation = Arc::new(Federation::new(document).expect("the document is sound"));
        let founders = federation.founders();
        let size = founders.size();
        let nodes = (0..size).map(|n| Node::new(identity(n), founders)).collect();
        Self {
            seed,
            now: Time(0),
            links: Links::new(size, weather),
            watch: Watch::new(&federation),
            federation,
            nodes,
            coverage: Coverage::default(),
            is_verbose: false,
            envelopes: Envelopes::default(),
            random: ChaCha8Rng::seed_from_u64(seed),
            events: EventQueue::default(),
        }
    }

    /// Starts everybody.
    pub fn begin(&mut self) {
        (0..self.nodes.len()).for_each(|node| self.start(node));
    }

    /// Makes a member a liar, before it is first started.
    pub fn corrupt(&mut self, node: usize, lies: &[Lie]) {
        self.nodes[node].liar = Some(Liar::new(lies));
    }

    /// Makes something go wrong at a time.
    pub fn schedule(&mut self, at_ms: u64, fault: Fault) {
        self.events.push(Time(at_ms), None, Event::Fault(fault));
    }

    /// Runs until `done` or virtual time `until_ms`; true if `done`.
    ///
    /// # Panics
    /// When an invariant does not hold.
    #[track_caller]
    pub fn run(&mut self, until_ms: u64, mut done: impl FnMut(&World) -> bool) -> bool {
        while !done(self) {
            match self.step(until_ms) {
                Ok(true) => {}
                Ok(false) => return false,
                Err(violation) => panic!("seed {} at {} ms: {violation}", self.seed, self.now.0),
            }
        }
        true
    }

    /// Handles one event; false if there is none until then.
    pub fn step(&mut self, until_ms: u64) -> Result<bool, Violation> {
        let Some(due) = self.events.pop(Time(until_ms)) else {
            return Ok(false);
        };
        self.now = due.at;
        match (due.whose, due.event) {
            (None, Event::Fault(fault)) => self.on_fault(fault),
            (Some((node, life)), event) if self.nodes[node].life == life => {
                self.on_event(node, event);
            }
            _ => {}
        }
        self.watch.verdict(self.now).map(|()| true)
    }

    /// Starts a member from its disk and connects it with everyone it reaches.
    pub fn start(&mut self, node: usize) {
        if self.nodes[node].participant.is_some() {
            return;
        }
        if self.nodes[node].life > 0 {
            self.coverage.saw(Seen::Restart);
        }
        let config = Config {
            federation: self.federation.clone(),
            identity: self.nodes[node].identity.clone(),
            start_adapter: model::start(),
        };
        let (records, wal) = (self.nodes[node].records.clone(), self.nodes[node].wal.clone());
        let participant = Participant::restore(config, records, wal, self.now);
        match participant {
            Ok(participant) => self.nodes[node].start(participant, self.federation.founders()),
            Err(error) => return self.watch.blame(node, "restores", error.to_string()),
        }
        self.observe(node, &Observation::Started);
        self.drain(node);
        for other in 0..self.nodes.len() {
            if other != node && self.are_connected(node, other) {
                self.connect(node, other);
            }
        }
    }

    /// Kills a member; what it persisted stays.
    pub fn crash(&mut self, node: usize) {
        self.nodes[node].stop();
        let me = self.id(node);
        for other in (0..self.nodes.len()).filter(|other| *other != node) {
            self.push(other, 10, Event::Input(Input::PeerDisconnected(me)));
        }
    }

    /// A member's key.
    pub fn id(&self, node: usize) -> MemberId {
        self.nodes[node].identity.member()
    }

    /// Which member has this key.
    pub fn node_of(&self, member: &MemberId) -> usize {
        self.find(member).expect("only asked of keys that somebody has")
    }

    /// Which member has this key, if one has.
    fn find(&self, member: &MemberId) -> Option<usize> {
        self.nodes.iter().position(|node| node.identity.member() == *member)
    }

    /// Members that run.
    pub fn alive(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.participant.is_some())
    }

    /// Members that do not lie.
    pub fn honest(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.liar.is_none())
    }

    /// Whether every running honest member has committed every round.
    pub fn finished(&self) -> bool {
        let rounds = self.federation.document().training.rounds;
        let mut members = self.alive().filter(|node| node.liar.is_none() && node.is_member());
        members.all(|node| node.finished && node.records.len() as u64 == rounds)
    }

    /// Whether every member runs.
    pub fn is_whole(&self) -> bool {
        self.nodes.iter().all(|node| node.participant.is_some())
    }

    fn on_event(&mut self, node: usize, event: Event) {
        let now = self.now;
        if matches!(event, Event::Start) {
            return self.start(node);
        }
        let Some(participant) = &self.nodes[node].participant else {
            return;
        };
        let due = participant.next_timeout();
        let input = match event {
            Event::Input(input) => input,
            Event::Message { via, opened } => {
                Input::Message { via, opened: Box::new(Opened::clone(&opened)) }
            }
            Event::Blob(blob) => {
                self.nodes[node].blobs.insert(blob);
                Input::BlobStored(blob)
            }
            Event::Wake => {
                self.nodes[node].wakes = None;
                if due.is_none_or(|due| due > now) {
                    return self.wake(node);
                }
                Input::Tick
            }
            Event::Start | Event::Fault(_) => return,
        };
        if self.is_verbose {
            self.trace(node).input(&input);
        }
        let participant = self.nodes[node].participant.as_mut().expect("it runs, as seen above");
        participant.handle(now, input);
        self.drain(node);
    }

    /// Lets the invariants see what an honest member did.
    fn observe(&mut self, node: usize, observation: &Observation<'_>) {
        if self.nodes[node].liar.is_none() {
            let scene = Scene {
                node,
                me: self.id(node),
                now: self.now,
                federation: &self.federation,
                roster: &self.nodes[node].roster,
            };
            self.watch.observe(&scene, observation);
        }
    }

    fn trace(&self, node: usize) -> Trace<'_> {
        Trace { now: self.now, node, roster: &self.nodes[node].roster }
    }

    fn push(&mut self, node: usize, delay_ms: u64, event: Event) {
        let at = Time(self.now.0 + delay_ms);
        self.events.push(at, Some((node, self.nodes[node].life)), event);
    }
}

/// The federation most runs are about.
pub fn document(size: usize, rounds: u64) -> Document {
    let member = |n: usize| Member {
        name: format!("member-{n:02}"),
        key: identity(n).member(),
        addresses: Vec::new(),
        weight: 1 + n as u32 % 3,
    };
    Document {
        name: "simulated".into(),
        seed: 1,
        base: Digest([9; 32]),
        tower: None,
        bootstrap: Vec::new(),
        lora: Lora { rank: 8, alpha: 16.0, dropout: 0.0, targets: vec!["q".into()] },
        training: Training {
            rounds,
            local_steps: 8,
            batch_questions: 12,
            batch_captions: 4,
            accumulation: 1,
            gradient_norm_max: None,
            learning_rate: 2e-3,
            learning_rate_final: 2e-3,
            weight_decay: 0.0,
            strategy: Strategy::FedAvg,
            compression: Compression::None,
        },
        council: Council {
            fault_model: FaultModel::Byzantine,
            round_deadline_s: 60,
            view_timeout_ms: 2000,
            late_rounds: 0,
        },
        members: (0..size).map(member).collect(),
    }
}

/// The key of the member at a place of the roster.
pub fn identity(place: usize) -> Identity {
    Identity::from_seed([place as u8 + 1; 32])
}
