//! Trains without a federation: all data in one place, or one member's part alone, from the base a
//! federation starts from, with its steps and batch and a smaller learning rate. A testnet's
//! comparison and `witan train` both train by it. As many threads as are asked for take one
//! candidate after the other.

pub mod state;
mod store;

use std::fmt;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use witan_home::{Failure, FailureKind};
use witan_model::data::Dataset;
use witan_model::families::blip3o::Targets;
use witan_model::{Schedule, TrainError, TrainPlan, TrainingRun};
use witan_node::jobs::Ground;
use witan_node::jobs::device::Device;
use witan_node::jobs::model::{Model, Read};
use witan_node::jobs::score::Marks;
use witan_node::jobs::shard::Pool;
use witan_node::jobs::tower::Tower;
use witan_node::jobs::turns::Turns;
use witan_protocol::federation::Training;

use crate::event::{Event, Observer};
use crate::spec::rate_factor;
use crate::train::TrainedRow;
pub use store::{Identity, Store};
pub use witan_model::{Step, Trained, TrainingState};

/// What every candidate is trained from, and how.
#[derive(Clone)]
pub struct TrainerConfig {
    /// Base, LoRA layout and initial adapter.
    pub ground: Ground,
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
    /// Turns at the cores.
    pub turns: Turns,
    /// What makes a checkpoint's targets, if captions are learnt.
    pub tower: Option<Tower>,
    /// Where they are kept.
    pub targets: PathBuf,
}

/// One adapter to train.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Candidate {
    /// On all data, for the same number of samples as all members together.
    Centralized,
    /// On one member's part, for the same number of samples as that member, by roster number.
    Alone(usize),
}

/// A model and all members' data, read once.
pub struct Trainer<M: Model> {
    config: TrainerConfig,
    observer: Observer,
    pool: Pool,
    read: Read<M>,
    /// One that was loaded and nobody uses.
    loaded: Mutex<Option<M>>,
}

impl Candidate {
    /// Whose part it is of, by roster number; none: all data.
    pub fn member(self) -> Option<usize> {
        match self {
            Self::Centralized => None,
            Self::Alone(index) => Some(index),
        }
    }

    /// Its name in a folder.
    pub fn name(self) -> String {
        match self {
            Self::Centralized => "central".to_owned(),
            Self::Alone(index) => format!("member-{index:02}"),
        }
    }
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Centralized => f.write_str("all data in one place"),
            Self::Alone(index) => write!(f, "member {index:02} alone"),
        }
    }
}

impl<M: Model> Trainer<M> {
    /// Makes a checkpoint's targets, then loads the model and reads all data with it.
    ///
    /// # Errors
    /// If the data cannot be read, or the work was stopped.
    pub fn open(config: TrainerConfig, pool: Pool, observer: Observer) -> Result<Self, Failure> {
        let targets = targets(&config, &pool.whole, &observer)?;
        let model = load::<M>(&config)?;
        let read = model.read(&pool.whole, targets)?;
        Ok(Self { config, observer, pool, read, loaded: Mutex::new(Some(model)) })
    }

    /// Does something with a model that was not trained.
    ///
    /// # Errors
    /// What that says.
    pub fn with_base<T>(&self, work: impl FnOnce(&M) -> Result<T, Failure>) -> Result<T, Failure> {
        let model = self.take()?;
        let done = work(&model);
        *self.loaded.lock().expect("nothing here panics") = Some(model);
        done
    }

    fn take(&self) -> Result<M, Failure> {
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
        evaluation: &M::Exam,
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
                rows.extend(self.train(&mut model, *candidate, evaluation, store)?);
            }
            Ok(rows)
        };
        let workers = self.config.workers.min(M::LOADED_MAX).min(open.len());
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
        model: &mut M,
        candidate: Candidate,
        evaluation: &M::Exam,
        store: Option<&Store>,
    ) -> Result<Option<TrainedRow>, Failure> {
        let Self { config, observer, .. } = self;
        let turn = config.turns.take(|| observer.goes_on().is_break());
        let _turn = turn.map_err(Failure::environment)?.ok_or_else(interrupted)?;
        let part;
        let read = match candidate {
            Candidate::Centralized => &self.read,
            Candidate::Alone(index) => {
                let targets = |data: &Dataset| targets(config, data, observer);
                let whole = (&self.pool.whole, &self.read);
                part = model.read_part(whole, &self.pool.parts[index], &targets)?;
                &part
            }
        };
        let plan = self.plan(candidate)?;
        let mut run = match TrainingRun::begin(model.pupil(), &config.ground.initial, read, &plan) {
            Err(TrainError::Empty) if candidate != Candidate::Centralized => {
                let idle = format!("{candidate}: nothing that these steps can teach");
                observer.say(Event::Said(idle));
                return Ok(None);
            }
            begun => begun.map_err(Failure::input)?,
        };
        if let Some(paused) = store.map_or(Ok(None), |store| store.paused(candidate))? {
            run = run.resume(model.pupil(), paused).map_err(Failure::input)?;
        }
        loop {
            let kept = Instant::now();
            let mut progress = |step: Step| {
                observer.say(Event::Step { candidate, step });
                match kept.elapsed() > KEEP_EVERY {
                    true => ControlFlow::Break(()),
                    false => observer.goes_on(),
                }
            };
            let ran = run.run(model.pupil(), read, &mut progress);
            if let Some(store) = store {
                store.keep(candidate, &run.state(model.pupil()))?;
            }
            ran.map_err(Failure::input)?;
            if let Some(trained) = run.trained(model.pupil()) {
                return self.finish(model, (candidate, &trained), evaluation, store).map(Some);
            }
            if observer.goes_on().is_break() {
                return Err(interrupted());
            }
        }
    }

    fn finish(
        &self,
        model: &M,
        (candidate, trained): (Candidate, &Trained),
        evaluation: &M::Exam,
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
            scores: self.evaluate(model, evaluation)?,
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
    pub fn evaluate(&self, model: &M, evaluation: &M::Exam) -> Result<Marks, Failure> {
        let mut count = |done, questions| {
            self.observer.say(Event::Evaluating { done, questions });
            self.observer.goes_on()
        };
        model.marks(evaluation, self.config.seed, &mut count)?.ok_or_else(interrupted)
    }

    /// The steps of a federation's rounds, one after the other, from the base.
    fn plan(&self, candidate: Candidate) -> Result<TrainPlan, Failure> {
        let (training, steps) = (&self.config.training, self.steps(candidate));
        let factor = rate_factor(self.pool.parts.len());
        Ok(TrainPlan {
            local_steps: usize::try_from(steps).map_err(Failure::usage)?,
            batch_questions: training.batch_questions as usize,
            batch_captions: training.batch_captions as usize,
            accumulation: training.accumulation as usize,
            gradient_norm_max: training.gradient_norm_max.map(|norm| norm as f32),
            schedule: Schedule {
                learning_rate: training.learning_rate / factor,
                learning_rate_final: training.learning_rate_final / factor,
                done: 0,
                total: steps,
            },
            weight_decay: training.weight_decay,
            seed: self.config.seed,
            threads: self.config.threads,
            strategy: witan_model::Strategy::FedAvg,
            round: 1,
        })
    }
}

fn load<M: Model>(config: &TrainerConfig) -> Result<M, Failure> {
    M::load(&config.ground.foundation, &config.ground.lora, &config.device)
}

/// What drawings of the captioned pictures should become, if there is a tower to say so.
fn targets(
    config: &TrainerConfig,
    data: &Dataset,
    observer: &Observer,
) -> Result<Option<Targets>, Failure> {
    let Some(tower) = &config.tower else { return Ok(None) };
    let mut count = |done, pictures| {
        observer.say(Event::Preparing { done, pictures });
        observer.goes_on()
    };
    let targets = tower.targets(data, &config.targets, &config.device, &mut count)?;
    targets.ok_or_else(interrupted).map(Some)
}

/// What ended early, because it was asked to.
pub fn interrupted() -> Failure {
    Failure::new(FailureKind::Interrupted, "interrupted")
}

/// Between two times that a training is kept; as much work is lost with the power.
const KEEP_EVERY: Duration = Duration::from_secs(10);
