//! A federation on one machine: a bootstrap process and many node processes on loopback, watched to
//! the end, checked and evaluated. It starts, watches and reports; it takes no part in any round.
//! Without network, votes and ledger the same members run in one process.

mod conclude;
pub mod fault;
pub mod homes;
pub mod in_process;
mod processes;
pub mod report;
pub mod spawn;
pub mod watch;

use std::path::PathBuf;
use std::time::Instant;

use tokio::sync::mpsc;
use witan_files::Blobs;
use witan_home::{Failure, FailureKind, Home};
use witan_model::device;
use witan_node::interrupt::Interrupt;
use witan_node::jobs::FederatedModel;
use witan_node::jobs::core_slots::CoreSlots;
use witan_protocol::federation::Federation;
use witan_protocol::ledger::Audited;
use witan_protocol::member::Round;

use crate::evaluator::{self, EvaluatorConfig};
use crate::event::{Event, Heard, Listener};
use crate::opened::Opened;
use crate::spec::Spec;
use fault::Fault;
use homes::Homes;
use in_process::Attack;
use report::{Checked, Cost, TestnetReport};
use spawn::NodeProcess;
use watch::Watch;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// A new testnet, or `None` to continue the one in `dir`.
    pub spec: Option<Spec>,
    /// Its folder.
    pub dir: PathBuf,
    /// Where its nodes run.
    pub mode: Mode,
    /// Train what the federation is compared with.
    pub compare: bool,
}

/// Where the nodes of a testnet run.
#[derive(Clone, Debug)]
pub enum Mode {
    /// In processes of their own, with network, votes and ledgers.
    Processes {
        /// A fault to inject.
        fault: Option<Fault>,
    },
    /// All in this one, without.
    InProcess {
        /// What the last member does.
        attack: Option<Attack>,
    },
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
    let interrupt = Interrupt::listen();
    let mut testnet = Testnet::new(homes, interrupt, listener)?;
    testnet.recall()?;
    let (adapter_bytes, full_model_bytes) = testnet.sizes();
    let (federation_s, peak_bytes_max) = (0.0, None);
    let mut cost = Cost { adapter_bytes, full_model_bytes, federation_s, peak_bytes_max };
    let checked = match request.mode {
        Mode::InProcess { attack } => {
            let rounds = testnet.federate_in_process(attack).await?;
            cost.federation_s = testnet.started.elapsed().as_secs_f64();
            Checked { rounds, ..Checked::default() }
        }
        Mode::Processes { fault } => {
            testnet.fault = fault;
            testnet.federate(&mut cost).await?;
            testnet.check_ledgers()?
        }
    };
    testnet.conclude(request.compare, checked, cost).await
}

impl Testnet {
    fn new(homes: Homes, interrupt: Interrupt, listener: Listener) -> Result<Self, Failure> {
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
        Ok(Self {
            watch: Watch::new(homes.members.clone()),
            fault: None,
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
            bootstrap: String::new(),
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

    /// Whatever happens passes here.
    fn note(&mut self, event: &Event) {
        self.watch.observe(event);
        (self.listener)(event);
    }

    /// An event while no node is watched: how they stop is not what the report is to say of them.
    fn on_late_event(&mut self, event: Event) {
        match event {
            Event::Ended { node, .. } => self.nodes[node] = None,
            Event::Node { .. } => {}
            event => self.note(&event),
        }
    }

    /// Bytes of one adapter as it travels, and of the whole model.
    fn sizes(&self) -> (u64, u64) {
        let FederatedModel { aggregation, lora, base } = &self.model;
        let initial = &aggregation.initial;
        let delta = aggregation.form(Round(1), initial).encode(initial, lora.rank);
        (delta.len() as u64, 4 * base.parameter_count())
    }
}

fn interrupted(homes: &Homes) -> Failure {
    Failure::new(FailureKind::Interrupted, "interrupted; every process is stopped")
        .hint(format!("continue with: {}", homes.folder.resume_command()))
}

fn prepare(request: &Request, listener: &Listener) -> Result<Homes, Failure> {
    let opened = |spec: &Spec| -> Result<Opened, Failure> {
        if let Mode::Processes { fault: Some(fault) } = &request.mode {
            fault.check(spec)?;
        }
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

/// Events waiting for the testnet; a node that is ahead of it waits.
const EVENTS_MAX: usize = 4096;
