//! Evaluates every committed adapter of a testnet on data no member trains on, and has the adapters
//! trained that the federation is compared with. One thread; it takes turns at the cores like any
//! node.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc;
use witan_home::Failure;
use witan_home::settings::DataSource;
use witan_model::{Adapter, Committed, Umm};
use witan_node::jobs::device::Device;
use witan_node::jobs::foundation::Foundation;
use witan_node::jobs::model::Model;
use witan_node::jobs::score::{Marks, by_task};
use witan_node::jobs::shard::{self, Extent};
use witan_node::jobs::turns::Turns;
use witan_node::jobs::unified::Unified;
use witan_node::jobs::{Ground, spawn};
use witan_protocol::federation::Federation;

use crate::compare::compare;
use crate::event::{Event, Observer};
use crate::testnet::Heard;

/// What is evaluated, and on what.
#[derive(Clone)]
pub struct EvaluatorConfig {
    /// Base, LoRA layout and initial adapter.
    pub ground: Ground,
    /// The federation's training settings.
    pub federation: Federation,
    /// Where all members' data come from, as member 0 sees it.
    pub data: DataSource,
    /// Where it computes.
    pub device: Device,
    /// Turns at the cores.
    pub turns: Turns,
    /// Where a checkpoint's targets are kept, for the comparison.
    pub targets: PathBuf,
}

/// The testnet's end of the evaluator.
#[derive(Debug)]
pub struct Handle {
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
    pub fn evaluate(&self, round: u64, adapter: Vec<u8>) {
        let _ = self.requests.try_send(Request::Round { round, adapter });
    }

    /// Asks for the comparison.
    pub fn compare(&self) {
        let _ = self.requests.try_send(Request::Comparison);
    }

    /// Ends running work early.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }
}

/// Starts the evaluator, which evaluates the base at once and says what it finds to `events`.
///
/// # Errors
/// If its thread cannot be started.
pub fn start(config: EvaluatorConfig, events: mpsc::Sender<Heard>) -> Result<Handle, Failure> {
    let (requests, asked) = mpsc::channel(REQUESTS_MAX);
    let (sender, if_panics) = (events.clone(), events.clone());
    let observer = Observer::new(Arc::new(move |event: &Event| {
        let _ = sender.blocking_send(Ok(event.clone()));
    }));
    let stopping = Arc::clone(&observer.stopping);
    let work = move || {
        let outcome = match config.ground.foundation {
            Foundation::Embedded(_) => Evaluator::<Umm>::run(config, observer, asked),
            Foundation::Blip3o(_) => Evaluator::<Unified>::run(config, observer, asked),
        };
        if let Err(failure) = outcome {
            let _ = events.blocking_send(Err(failure));
        }
    };
    spawn("witan-evaluate", work, move |failure| drop(if_panics.blocking_send(Err(failure))))?;
    Ok(Handle { requests, stopping })
}

struct Evaluator<M: Model> {
    config: EvaluatorConfig,
    model: M,
    evaluation: M::Exam,
    observer: Observer,
}

impl<M: Model> Evaluator<M> {
    /// Answers until nobody asks any more, or it is stopped.
    fn run(
        config: EvaluatorConfig,
        observer: Observer,
        mut asked: mpsc::Receiver<Request>,
    ) -> Result<(), Failure> {
        let EvaluatorConfig { ground, device, data, .. } = &config;
        let set = shard::exam(data, Extent::Sample)?;
        let model = M::load(&ground.foundation, &ground.lora, device)?;
        let evaluation = model.examine(set)?;
        let initial = Committed::plain(Adapter::clone(&ground.initial));
        let mut evaluator = Self { config, model, evaluation, observer };
        evaluator.describe();
        let Some(metrics) = evaluator.metrics(&initial)? else { return Ok(()) };
        evaluator.observer.say(Event::Evaluated { round: 0, metrics });
        while let Some(request) = asked.blocking_recv() {
            match request {
                Request::Round { round, adapter } => {
                    let committed = evaluator.config.ground.committed(&adapter);
                    let committed = committed.map_err(Failure::input)?;
                    let Some(metrics) = evaluator.metrics(&committed)? else { return Ok(()) };
                    evaluator.observer.say(Event::Evaluated { round, metrics });
                }
                Request::Comparison => {
                    let Self { config, model, evaluation, observer } = evaluator;
                    // Before others of its size are loaded: nothing is asked after this.
                    drop(model);
                    let comparison = compare::<M>(&config, &evaluation, observer.clone())?;
                    observer.say(Event::Compared(Box::new(comparison)));
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Says what the evaluation set is.
    fn describe(&self) {
        let ceiling = M::ceiling(&self.evaluation);
        if let Some(overall) = ceiling.all.overall() {
            self.observer.say(Event::Ceiling { overall, by_task: by_task(&ceiling) });
        }
        let undrawn = M::undrawn(&self.evaluation);
        if undrawn.count > 0 {
            self.observer.say(Event::Undrawn(undrawn));
        }
    }

    /// None if it was stopped.
    fn metrics(&mut self, committed: &Committed) -> Result<Option<Marks>, Failure> {
        let is_stopping = || self.observer.goes_on().is_break();
        let _turn = self.config.turns.take(is_stopping).map_err(Failure::environment)?;
        self.model.adopt(committed)?;
        let seed = self.config.federation.document().seed;
        self.model.marks(&self.evaluation, seed, &mut |_, _| self.observer.goes_on())
    }
}

/// Requests waiting: one a round.
const REQUESTS_MAX: usize = 1024;
