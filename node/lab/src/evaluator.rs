//! Evaluates every committed adapter of a testnet on data no member trains on, and has the adapters
//! trained that the federation is compared with. One thread; it waits for a free core like any
//! node.

mod compare;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc;
use witan_adapter::{Adapter, Committed};
use witan_data::metrics::Metrics;
use witan_data::source::{DataSource, Extent};
use witan_home::{Failure, FailureKind};
use witan_model::device::Device;
use witan_model::trainable::{self, Drawings, EvaluationData, Trainable};
use witan_node::jobs::core_slots::CoreSlots;
use witan_node::jobs::{FederatedModel, spawn};
use witan_protocol::federation::Federation;

use crate::event::{Event, Heard, Observer};
use crate::tables::Ceiling;
use compare::compare;

/// What is evaluated, and on what.
#[derive(Clone)]
pub(crate) struct EvaluatorConfig {
    /// The federation's model.
    pub model: FederatedModel,
    /// The federation's training settings.
    pub federation: Federation,
    /// Where all members' data come from, as member 0 sees it.
    pub data: DataSource,
    /// Where it computes.
    pub device: Device,
    /// The machine's cores.
    pub slots: CoreSlots,
    /// Where a checkpoint's targets are kept, for the comparison.
    pub targets: PathBuf,
}

/// The testnet's end of the evaluator.
#[derive(Debug)]
pub(crate) struct Handle {
    requests: mpsc::Sender<Request>,
    stopping: Arc<AtomicBool>,
}

#[derive(Debug)]
enum Request {
    /// The metrics of a committed adapter.
    Round { round: u64, adapter: Vec<u8> },
    /// Those of what the federation is compared with.
    Comparison,
}

impl Handle {
    /// Asks for the metrics of a committed adapter. An evaluator that is far behind skips it.
    pub(crate) fn evaluate(&self, round: u64, adapter: Vec<u8>) {
        let _ = self.requests.try_send(Request::Round { round, adapter });
    }

    /// Asks for the comparison.
    pub(crate) fn compare(&self) {
        let _ = self.requests.try_send(Request::Comparison);
    }

    /// Ends running work early.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }
}

/// Starts the evaluator, which evaluates the base at once and says what it finds to `events`.
///
/// # Errors
/// If its thread cannot be started.
pub(crate) fn start(
    config: EvaluatorConfig,
    events: mpsc::Sender<Heard>,
) -> Result<Handle, Failure> {
    let (requests, asked) = mpsc::channel(REQUESTS_MAX);
    let (sender, if_panics) = (events.clone(), events.clone());
    let observer = Observer::new(Arc::new(move |event: &Event| {
        let _ = sender.blocking_send(Ok(event.clone()));
    }));
    let stopping = Arc::clone(&observer.stopping);
    let work = move || {
        if let Err(failure) = Evaluator::run(config, observer, asked) {
            let _ = events.blocking_send(Err(failure));
        }
    };
    spawn("witan-evaluate", work, move |failure| drop(if_panics.blocking_send(Err(failure))))?;
    Ok(Handle { requests, stopping })
}

struct Evaluator {
    config: EvaluatorConfig,
    model: Box<dyn Trainable>,
    evaluation: EvaluationData,
    observer: Observer,
}

impl Evaluator {
    /// Answers until nobody asks any more, or it is stopped.
    fn run(
        config: EvaluatorConfig,
        observer: Observer,
        mut asked: mpsc::Receiver<Request>,
    ) -> Result<(), Failure> {
        let EvaluatorConfig { model: federated, device, data, .. } = &config;
        let set = data.evaluation_set(Extent::Sample)?;
        let model = federated.base.load(&federated.lora, device)?;
        let evaluation = EvaluationData::read(&*federated.base, &*model, set)?;
        let initial = Committed::plain(Adapter::clone(&federated.aggregation.initial));
        let mut evaluator = Self { config, model, evaluation, observer };
        evaluator.describe();
        let Some(metrics) = evaluator.metrics(&initial)? else { return Ok(()) };
        evaluator.observer.say(Event::Evaluated { round: 0, metrics });
        while let Some(request) = asked.blocking_recv() {
            match request {
                Request::Round { round, adapter } => {
                    let committed = evaluator.config.model.aggregation.committed(&adapter);
                    let committed = committed.map_err(Failure::input)?;
                    let Some(metrics) = evaluator.metrics(&committed)? else { return Ok(()) };
                    evaluator.observer.say(Event::Evaluated { round, metrics });
                }
                Request::Comparison => {
                    let Self { config, model, evaluation, observer } = evaluator;
                    // Before others of its size are loaded: nothing is asked after this.
                    drop(model);
                    let comparison = compare(&config, &evaluation, observer.clone())?;
                    observer.say(Event::Compared(Box::new(comparison)));
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Says what the evaluation set is.
    fn describe(&self) {
        self.observer.say(Event::Ceiling(Ceiling::of(&self.evaluation)));
        if self.evaluation.skipped.count > 0 {
            self.observer.say(Event::Skipped(self.evaluation.skipped.clone()));
        }
    }

    /// None if it was stopped.
    fn metrics(&mut self, committed: &Committed) -> Result<Option<Metrics>, Failure> {
        let is_stopping = || self.observer.goes_on().is_break();
        let _slot = self.config.slots.acquire(is_stopping).map_err(Failure::environment)?;
        self.model.adopt(committed)?;
        let seed = self.config.federation.document().seed;
        let drawings = Drawings { seed, images: 1, folder: None };
        let mut progress = |_| self.observer.goes_on();
        match trainable::evaluate(&*self.model, &self.evaluation, drawings, &mut progress) {
            Ok(evaluation) => Ok(Some(evaluation.metrics())),
            Err(fault) => match Failure::from(fault) {
                failure if failure.kind == FailureKind::Interrupted => Ok(None),
                failure => Err(failure),
            },
        }
    }
}

/// Requests waiting: one a round.
const REQUESTS_MAX: usize = 1024;
