//! A federation on one machine: a bootstrap process and many node processes on loopback, watched to
//! the end, checked and evaluated. It starts, watches and reports; it takes no part in any round.

mod conclude;
pub mod fault;
pub mod homes;
pub mod report;
pub mod spawn;
pub mod watch;

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use witan_files::Blobs;
use witan_home::{Failure, FailureKind, Home};
use witan_node::driver::unix_ms;
use witan_node::events::{NodeEvent, TimedEvent};
use witan_node::interrupt::Interrupt;
use witan_node::jobs::core_slots::CoreSlots;
use witan_node::jobs::{FederatedModel, device};
use witan_protocol::federation::Federation;
use witan_protocol::io::Notice;
use witan_protocol::ledger::Audited;
use witan_protocol::member::Round;

use crate::evaluator::{self, EvaluatorConfig};
use crate::event::{Event, Listener};
use crate::opened::Opened;
use crate::spec::Spec;
use fault::{Action, Fault, FaultSpec};
use homes::Homes;
use report::{Cost, TestnetReport};
use spawn::{BootstrapProcess, NodeProcess};
use watch::Watch;

/// What a node or the evaluator says; a failure ends the testnet.
pub type Heard = Result<Event, Failure>;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// A new testnet, or `None` to continue the one in `dir`.
    pub spec: Option<Spec>,
    /// Its folder.
    pub dir: PathBuf,
    /// A fault to inject.
    pub fault: Option<FaultSpec>,
    /// Train what the federation is compared with.
    pub compare: bool,
}

/// The running federation.
struct Testnet {
    homes: Homes,
    watch: Watch,
    federation: Federation,
    model: FederatedModel,
    nodes: Vec<Option<NodeProcess>>,
    events: mpsc::Receiver<Heard>,
    sender: mpsc::Sender<Heard>,
    listener: Listener,
    fault: Option<Fault>,
    evaluator: evaluator::Handle,
    /// The newest round whose evaluation was asked for.
    evaluated: u64,
    started: Instant,
    interrupt: Interrupt,
    /// Where this run's bootstrap peer listens.
    bootstrap: String,
}

/// Runs a testnet to its end.
///
/// # Errors
/// Bad input, a node that does not come up, an interruption, a run that lost members.
pub async fn run(request: Request, listener: Listener) -> Result<TestnetReport, Failure> {
    let homes = prepare(&request, &listener)?;
    // Only from here on is there something to stop.
    let mut interrupt = Interrupt::listen();
    let bootstrap_home = homes.folder.path("bootstrap");
    let bootstrap = tokio::select! {
        started = BootstrapProcess::start(&bootstrap_home) => started?,
        () = interrupt.told() => return Err(interrupted(&homes)),
    };
    let mut testnet = Testnet::new(&request, homes, (interrupt, &bootstrap), listener)?;
    testnet.recall()?;
    let outcome = testnet.federate().await;
    let federation_s = testnet.started.elapsed().as_secs_f64();
    let peak_bytes_max = testnet.nodes.iter().flatten().filter_map(NodeProcess::peak_bytes).max();
    let stopped = testnet.stop_all().await;
    drop(bootstrap);
    outcome.and(stopped)?;
    let (adapter_bytes, full_model_bytes) = testnet.sizes();
    let cost = Cost { adapter_bytes, full_model_bytes, federation_s, peak_bytes_max };
    testnet.conclude(request.compare, cost).await
}

impl Testnet {
    fn new(
        request: &Request,
        homes: Homes,
        (interrupt, bootstrap): (Interrupt, &BootstrapProcess),
        listener: Listener,
    ) -> Result<Self, Failure> {
        let first = Home::at(homes.home(0));
        let federation = first.read_federation()?;
        let model = FederatedModel::of_home(&first, &federation)?;
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        let config = EvaluatorConfig {
            model: model.clone(),
            federation: federation.clone(),
            data: homes.spec.data(0),
            device: device::open(homes.spec.learning.device)?,
            slots: CoreSlots::open(Some(&homes.folder.path("turns")))
                .map_err(Failure::environment)?,
            targets: homes.folder.path("targets"),
        };
        let quorum = federation.founders().quorum();
        Ok(Self {
            watch: Watch::new(homes.members.clone()),
            fault: request.fault.map(|fault| fault.begin(quorum)),
            evaluator: evaluator::start(config, sender.clone())?,
            homes,
            federation,
            model,
            nodes: Vec::new(),
            events,
            sender,
            listener,
            evaluated: 0,
            started: Instant::now(),
            interrupt,
            bootstrap: bootstrap.address.clone(),
        })
    }

    /// Takes in what earlier runs committed, and has the newest of it evaluated.
    fn recall(&mut self) -> Result<(), Failure> {
        let (dir, members) = (self.homes.folder.dir.clone(), self.homes.members.clone());
        self.note(&Event::Begins { dir, members });
        let history = self.homes.history(&self.federation, &self.model);
        for audited in &history.records {
            self.note(&Event::Recalled(Box::new(audited.record.clone())));
        }
        if let Some(Audited { record: newest, .. }) = history.records.last() {
            let blobs = Blobs::open(Home::at(self.homes.home(history.holder)).blobs())?;
            // If it was altered, that node refuses it and the check at the end names it.
            if let Ok(adapter) = blobs.read(&newest.proposal.result) {
                self.evaluated = newest.proposal.round.0;
                self.evaluator.evaluate(self.evaluated, adapter);
            }
        }
        Ok(())
    }

    /// Starts every node and watches until every living one has every round.
    async fn federate(&mut self) -> Result<(), Failure> {
        for index in 0..self.homes.spec.cohort.nodes {
            let process = self.start(index)?;
            self.nodes.push(Some(process));
        }
        while !self.is_over() {
            tokio::select! {
                () = self.interrupt.told() => return Err(interrupted(&self.homes)),
                Some(heard) = self.events.recv() => self.on_event(heard?)?,
            }
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        let is_fault_over = self.fault.as_ref().is_none_or(|fault| fault.is_over(&self.watch));
        self.watch.is_finished() && is_fault_over
    }

    /// Whatever happens passes here.
    fn note(&mut self, event: &Event) {
        self.watch.observe(event);
        (self.listener)(event);
    }

    fn on_event(&mut self, event: Event) -> Result<(), Failure> {
        self.note(&event);
        match event {
            Event::Node { node, event } => self.on_node_event(node, &event)?,
            Event::Ended { node, code, stderr } => self.on_end(node, code, &stderr)?,
            _ => {}
        }
        self.inject()
    }

    fn on_node_event(&mut self, index: usize, event: &TimedEvent) -> Result<(), Failure> {
        match &event.kind {
            // Evaluated when the first node has adopted it.
            NodeEvent::Protocol { notice: Notice::Committed { round, result, .. } } => {
                let blobs = Blobs::open(Home::at(self.homes.home(index)).blobs())?;
                if round.0 > self.evaluated && blobs.has(result) {
                    self.evaluated = round.0;
                    self.evaluator.evaluate(round.0, blobs.read(result)?);
                }
                Ok(())
            }
            NodeEvent::SitsOut { round, reason } if self.watch.nobody_trains(*round) => {
                let message = format!("no node can train round {round}: {reason}");
                Err(Failure::new(FailureKind::Incomplete, message)
                    .hint(self.model.base.teaching_hint()))
            }
            _ => Ok(()),
        }
    }

    fn on_end(&mut self, index: usize, code: Option<i32>, stderr: &str) -> Result<(), Failure> {
        self.nodes[index] = None;
        let all = self.nodes.len();
        if self.fault.as_ref().is_some_and(|fault| fault.is_victim(index, all)) {
            return Ok(());
        }
        let how = code.map_or("was killed".to_owned(), |code| format!("ended with code {code}"));
        let end = format!("node-{index:02} {how}");
        (self.listener)(&Event::Said(format!("{end}: {stderr}")));
        let living = self.nodes.iter().filter(|node| node.is_some()).count();
        let needed = self.federation.founders().quorum();
        if living < needed {
            let mut errors = stderr.lines().filter_map(|line| line.strip_prefix("error: "));
            let error = errors.next().unwrap_or("without a word");
            let message =
                format!("{living} of {all} nodes are left and {needed} must vote; {end}: {error}");
            return Err(Failure::new(FailureKind::Incomplete, message)
                .hint(format!("fix that, then: {}", self.homes.folder.resume_command())));
        }
        Ok(())
    }

    /// Does what a fault wants done now, if there is one.
    fn inject(&mut self) -> Result<(), Failure> {
        let (watch, now_ms) = (&self.watch, unix_ms());
        match self.fault.as_mut().and_then(|fault| fault.next(watch, now_ms)) {
            Some(Action::Pause(index)) => self.pause(index)?,
            Some(Action::Kill(index)) => {
                if let Some(node) = &mut self.nodes[index] {
                    node.kill();
                }
            }
            Some(Action::Restart(index)) => {
                let process = self.start(index)?;
                self.nodes[index] = Some(process);
            }
            None => {}
        }
        Ok(())
    }

    fn pause(&self, index: usize) -> Result<(), Failure> {
        let Some(node) = &self.nodes[index] else { return Ok(()) };
        let status = Command::new("kill").args(["-STOP", &node.pid.to_string()]).status();
        match status {
            Ok(status) if status.success() => Ok(()),
            _ => Err(Failure::environment(format!("cannot pause node-{index:02} with `kill`"))),
        }
    }

    fn start(&mut self, node: usize) -> Result<NodeProcess, Failure> {
        self.note(&Event::Started { node });
        NodeProcess::start(node, &self.homes.home(node), &self.bootstrap, self.sender.clone())
    }

    /// Stops every node cleanly; one that does not end in time, or that cannot because it is
    /// paused, is killed. A second interrupt ends all patience.
    async fn stop_all(&mut self) -> Result<(), Failure> {
        for node in self.nodes.iter_mut().flatten() {
            node.stop();
        }
        if let Some(paused) = self.fault.as_ref().and_then(Fault::paused)
            && let Some(node) = &mut self.nodes[paused]
        {
            node.kill();
        }
        let patience = tokio::time::Instant::now() + STOP_MAX;
        let mut outcome = Ok(());
        while self.nodes.iter().any(Option::is_some) {
            tokio::select! {
                () = self.interrupt.told_again() => break,
                () = tokio::time::sleep_until(patience) => break,
                Some(heard) = self.events.recv() => match heard {
                    Ok(event) => self.on_late_event(event),
                    Err(failure) => outcome = Err(failure),
                },
            }
        }
        for node in self.nodes.iter_mut().flatten() {
            node.kill();
        }
        outcome
    }

    /// An event after the end: how the nodes stop is not what the report is to say of them.
    fn on_late_event(&mut self, event: Event) {
        match event {
            Event::Ended { node, .. } => self.nodes[node] = None,
            Event::Node { .. } => {}
            event => self.note(&event),
        }
    }

    /// Bytes of one adapter as it travels, and of the whole model.
    fn sizes(&self) -> (u64, u64) {
        let FederatedModel { initial, lora, base, .. } = &self.model;
        let delta = self.model.form(Round(1), initial).encode(initial, lora.rank);
        (delta.len() as u64, 4 * base.parameter_count())
    }
}

fn interrupted(homes: &Homes) -> Failure {
    Failure::new(FailureKind::Interrupted, "interrupted; every process is stopped")
        .hint(format!("continue with: {}", homes.folder.resume_command()))
}

fn prepare(request: &Request, listener: &Listener) -> Result<Homes, Failure> {
    let opened = |spec: &Spec| -> Result<Opened, Failure> {
        request.fault.map_or(Ok(()), |fault| fault.check(spec))?;
        let opened = Opened::of(spec)?;
        for index in &opened.idle {
            let said = format!("node-{index:02} has nothing the model can be taught: it sits out");
            listener(&Event::Said(said));
        }
        if let Some(left_out) = &opened.left_out {
            listener(&Event::Said(left_out.clone()));
        }
        Ok(opened)
    };
    match &request.spec {
        Some(spec) => {
            crate::folder::Kind::Testnet.fits(&request.dir)?;
            let base = opened(spec)?.base;
            Homes::create(&request.dir, spec.clone(), &*base)
        }
        None => {
            let homes = Homes::open(&request.dir)?;
            opened(&homes.spec)?;
            Ok(homes)
        }
    }
}

/// How long a node may take to stop.
const STOP_MAX: Duration = Duration::from_secs(15);
/// Events waiting for the testnet; a node that is ahead of it waits.
const EVENTS_MAX: usize = 4096;
