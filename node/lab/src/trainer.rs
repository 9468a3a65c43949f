//! Trains without a federation: all data in one place, or one member's part alone, from the base a
//! federation starts from, with its steps and batch and a smaller learning rate. A testnet's
//! comparison and `witan train` both train by it. As many threads as are asked for take one
//! candidate after the other.

pub mod state;
mod store;

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use witan_data::Dataset;
use witan_data::fault::Fault;
use witan_data::metrics::Metrics;
use witan_data::source::Pool;
use witan_home::{Failure, FailureKind};
use witan_model::device::Device;
use witan_model::trainable::{
    self, Drawings, EvaluationData, Next, Progress, Targets, TrainObserver, TrainTask, Trainable,
    TrainingData,
};
use witan_model::{Schedule, TrainPlan};
use witan_node::jobs::FederatedModel;
use witan_node::jobs::core_slots::CoreSlots;
use witan_node::jobs::train::plan_of;
use witan_protocol::federation::Training;

use crate::candidate::{Candidate, TrainedRow};
use crate::event::{Event, Observer, Work};
use crate::spec::rate_factor;
pub use store::{Identity, Store};
pub use witan_model::{Step, Trained, TrainingState};

/// What every candidate is trained from, and how.
#[derive(Clone)]
pub struct TrainerConfig {
    /// Base, LoRA configuration and initial adapter.
    pub model: FederatedModel,
    /// The federation's steps, batch and step size.
    pub training: Training,
    /// Its seed.
    pub seed: u64,
    /// Threads of one training; another number may give other bits.
    pub threads: usize,
    /// Candidates trained at once, if there is room for as many models.
    pub workers: usize,
    /// Where it computes.
    pub device: Device,
    /// The machine's cores.
    pub slots: CoreSlots,
    /// Where what drawings should become is kept.
    pub targets: PathBuf,
}

/// A model and all members' data, read once.
pub struct Trainer {
    config: TrainerConfig,
    observer: Observer,
    pool: Pool,
    read: TrainingData,
    /// One that was loaded and nobody uses.
    loaded: Mutex<Option<Box<dyn Trainable>>>,
}

impl Trainer {
    /// Makes what drawings should become, then loads the model and reads all data with it.
    ///
    /// # Errors
    /// If the data cannot be read, or the work was stopped.
    pub fn open(config: TrainerConfig, pool: Pool, observer: Observer) -> Result<Self, Failure> {
        let targets = targets(&config, &pool.whole, &observer)?;
        let model = load(&config)?;
        let read = model.read(&pool.whole, targets)?;
        Ok(Self { config, observer, pool, read, loaded: Mutex::new(Some(model)) })
    }

    /// Does something with a model that was not trained.
    ///
    /// # Errors
    /// What that says.
    pub fn with_base<T>(
        &self,
        work: impl FnOnce(&dyn Trainable) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let model = self.take()?;
        let done = work(&*model);
        *self.loaded.lock().expect("nothing here panics") = Some(model);
        done
    }

    fn take(&self) -> Result<Box<dyn Trainable>, Failure> {
        let loaded = self.loaded.lock().expect("nothing here panics").take();
        loaded.map_or_else(|| load(&self.config), Ok)
    }

    /// Every member alone.
    pub fn members(&self) -> Vec<Candidate> {
        (0..self.pool.parts.len()).map(Candidate::Alone).collect()
    }

    /// How many steps a candidate takes.
    pub fn steps(&self, candidate: Candidate) -> u64 {
        let Training { rounds, local_steps, .. } = self.config.training;
        let own = rounds * u64::from(local_steps);
        match candidate {
            Candidate::Centralized => own * self.pool.parts.len() as u64,
            Candidate::Alone(_) => own,
        }
    }

    /// Trains and evaluates the candidates, the first first, except those that an earlier run has
    /// done; one without anything to train on is passed over. The results are in the order of the
    /// roster, all data first.
    ///
    /// # Errors
    /// If a training fails, its state cannot be kept, or the work was stopped.
    pub fn train_all(
        &self,
        candidates: &[Candidate],
        evaluation: &EvaluationData,
        store: Option<&Store>,
    ) -> Result<Vec<TrainedRow>, Failure> {
        let (mut open, mut rows, mut steps, mut done) = (Vec::new(), Vec::new(), 0, 0);
        for &candidate in candidates {
            steps += self.steps(candidate);
            match store.map_or(Ok(None), |store| store.row(candidate))? {
                Some(row) => {
                    rows.push(row);
                    done += self.steps(candidate);
                }
                None => {
                    let paused = store.map_or(Ok(None), |store| store.paused(candidate))?;
                    done += paused.map_or(0, |paused| paused.done as u64);
                    open.push(candidate);
                }
            }
        }
        self.observer.say(Event::Trainings { count: open.len(), steps, done });
        let next = AtomicUsize::new(0);
        let work = || -> Result<Vec<TrainedRow>, Failure> {
            let (mut model, mut rows) = (self.take()?, Vec::new());
            while let Some(candidate) = open.get(next.fetch_add(1, Ordering::Relaxed)) {
                rows.extend(self.train(&mut *model, *candidate, evaluation, store)?);
            }
            Ok(rows)
        };
        let workers = self.config.workers.min(self.config.model.base.loaded_max()).min(open.len());
        let outcomes = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
            let outcomes = workers.into_iter().map(|worker| {
                worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            });
            outcomes.collect::<Result<Vec<_>, _>>()
        })?;
        rows.extend(outcomes.into_iter().flatten());
        rows.sort_by_key(|row| row.member);
        Ok(rows)
    }

    /// None if the candidate has nothing to train on.
    fn train(
        &self,
        model: &mut dyn Trainable,
        candidate: Candidate,
        evaluation: &EvaluationData,
        store: Option<&Store>,
    ) -> Result<Option<TrainedRow>, Failure> {
        let Self { config, observer, .. } = self;
        let slot = config.slots.acquire(|| observer.goes_on().is_break());
        let _slot = slot.map_err(Failure::environment)?.ok_or_else(interrupted)?;
        let part;
        let data = match candidate {
            Candidate::Centralized => &self.read,
            Candidate::Alone(index) => {
                let targets = |data: &Dataset| targets(config, data, observer);
                let whole = (&self.pool.whole, &self.read);
                part = model.read_part(whole, &self.pool.parts[index], &targets)?;
                &part
            }
        };
        let plan = self.plan(candidate)?;
        if candidate != Candidate::Centralized && !data.teaches(&plan) {
            let idle = format!("{candidate}: nothing that these steps can teach");
            observer.say(Event::Said(idle));
            return Ok(None);
        }
        let paused = store.map_or(Ok(None), |store| store.paused(candidate))?;
        let task =
            TrainTask { start: &config.model.aggregation.initial, data, plan: &plan, paused };
        let mut run = Run { candidate, observer, store, kept: Instant::now(), failed: None };
        let trained = model.train(&task, &mut run);
        match run.failed {
            Some(failure) => Err(failure),
            None => self.finish(model, (candidate, &trained?), evaluation, store).map(Some),
        }
    }

    fn finish(
        &self,
        model: &dyn Trainable,
        (candidate, trained): (Candidate, &Trained),
        evaluation: &EvaluationData,
        store: Option<&Store>,
    ) -> Result<TrainedRow, Failure> {
        if let Some(store) = store {
            store.export(candidate, trained)?;
        }
        let row = TrainedRow {
            name: candidate.name(),
            member: candidate.member(),
            steps: trained.steps,
            examples: trained.examples,
            loss: trained.loss,
            metrics: self.evaluate(model, evaluation)?,
        };
        if let Some(store) = store {
            store.finish(candidate, &row)?;
        }
        self.observer.say(Event::Trained(Box::new(row.clone())));
        Ok(row)
    }

    /// The metrics of the adapter that is in.
    ///
    /// # Errors
    /// If data cannot be read any more, or the work was stopped.
    pub fn evaluate(
        &self,
        model: &dyn Trainable,
        evaluation: &EvaluationData,
    ) -> Result<Metrics, Failure> {
        let mut progress = |Progress { stage, done, total }| {
            if stage == "answering" {
                self.observer.say(Event::Counted { work: Work::Answers, done, of: total });
            }
            self.observer.goes_on()
        };
        let drawings = Drawings { seed: self.config.seed, images: 1, folder: None };
        Ok(trainable::evaluate(model, evaluation, drawings, &mut progress)?.metrics())
    }

    /// The steps of a federation's rounds, one after the other, from the base.
    fn plan(&self, candidate: Candidate) -> Result<TrainPlan, Failure> {
        let (training, steps) = (&self.config.training, self.steps(candidate));
        let factor = rate_factor(self.pool.parts.len());
        Ok(TrainPlan {
            local_steps: usize::try_from(steps).map_err(Failure::usage)?,
            schedule: Schedule {
                learning_rate: training.learning_rate / factor,
                learning_rate_final: training.learning_rate_final / factor,
                done: 0,
                total: steps,
            },
            seed: self.config.seed,
            threads: self.config.threads,
            ..plan_of(training)
        })
    }
}

/// Hears of one candidate's training, and keeps its state.
struct Run<'a> {
    candidate: Candidate,
    observer: &'a Observer,
    store: Option<&'a Store<'a>>,
    kept: Instant,
    failed: Option<Failure>,
}

impl TrainObserver for Run<'_> {
    fn on_step(&mut self, step: Step) -> Next {
        self.observer.say(Event::Step { candidate: self.candidate, step });
        match self.observer.goes_on() {
            ControlFlow::Break(()) => Next::Stop,
            ControlFlow::Continue(()) if self.kept.elapsed() > KEEP_EVERY => Next::Keep,
            ControlFlow::Continue(()) => Next::Step,
        }
    }

    fn keep(&mut self, state: &dyn Fn() -> TrainingState) -> Result<(), Fault> {
        self.kept = Instant::now();
        let Some(store) = self.store else { return Ok(()) };
        store.keep(self.candidate, &state()).map_err(|failure| {
            self.failed = Some(failure);
            Fault::stopped()
        })
    }
}

fn load(config: &TrainerConfig) -> Result<Box<dyn Trainable>, Failure> {
    Ok(config.model.base.load(&config.model.lora, &config.device)?)
}

/// What drawings of the captioned pictures should become.
fn targets(config: &TrainerConfig, data: &Dataset, observer: &Observer) -> Result<Targets, Fault> {
    let mut count = |done, of| {
        observer.say(Event::Counted { work: Work::Targets, done, of });
        observer.goes_on()
    };
    config.model.base.targets(data, &config.targets, &config.device, &mut count)
}

/// What ended early, because it was asked to.
pub fn interrupted() -> Failure {
    Failure::new(FailureKind::Interrupted, "interrupted")
}

/// Between two times that a training is kept; as much work is lost with the power.
const KEEP_EVERY: Duration = Duration::from_secs(10);
