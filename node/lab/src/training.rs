//! One trainer without a federation: all data in one place, or one member's part alone, from the base a
//! federation starts from, with its steps and batch and a smaller step size. A testnet's comparison and `witan
//! train` both train by it. As many threads as are asked for take one candidate after the other.

pub mod kept;

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
use witan_node::jobs::shard::Pool;
use witan_node::jobs::tower::Tower;
use witan_node::jobs::turns::Turns;
use witan_protocol::federation::Training;

use crate::spec::rate_factor;
pub use witan_model::{Step, Trained, TrainingState};

/// What every candidate is trained from, and how.
#[derive(Clone)]
pub struct Terms {
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

/// Hears of long work, and may stop it.
pub trait Watching: Sync {
    /// Whether the work should go on.
    fn goes_on(&self) -> ControlFlow<()>;

    /// Targets of drawings are made before the first step, of so many pictures of how many.
    fn on_preparing(&self, done: usize, pictures: usize);
}

/// Hears of the candidates, and keeps what comes of them. Called from several threads.
pub trait Desk<M>: Watching {
    /// A candidate has nothing that its steps can teach.
    fn on_idle(&self, _candidate: Candidate) {}

    /// A step was taken.
    fn on_step(&self, candidate: Candidate, step: Step);

    /// Where an earlier run left a candidate.
    fn earlier(&self, _candidate: Candidate) -> Result<Option<TrainingState>, Failure> {
        Ok(None)
    }

    /// A candidate stands here: now and then, before it ends early or fails, and before it is scored.
    fn keep(&self, _candidate: Candidate, _paused: &TrainingState) -> Result<(), Failure> {
        Ok(())
    }

    /// A candidate is trained; `model` holds its adapter.
    fn on_trained(&self, candidate: Candidate, model: &M, trained: &Trained)
    -> Result<(), Failure>;
}

/// All members' data, read once, and the terms.
pub struct Solo<M: Model> {
    terms: Terms,
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
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Centralized => f.write_str("all data in one place"),
            Self::Alone(index) => write!(f, "member {index:02} alone"),
        }
    }
}

impl<M: Model> Solo<M> {
    /// Makes a checkpoint's targets, then loads the model and reads all data with it.
    ///
    /// # Errors
    /// If the data cannot be read, or the work was stopped.
    pub fn open(terms: Terms, pool: Pool, watch: &impl Watching) -> Result<Self, Failure> {
        let targets = targets(&terms, &pool.whole, watch)?;
        let model = load::<M>(&terms)?;
        let read = model.read(&pool.whole, targets)?;
        Ok(Self { terms, pool, read, loaded: Mutex::new(Some(model)) })
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
        loaded.map_or_else(|| load(&self.terms), Ok)
    }

    /// Every member alone.
    pub fn members(&self) -> Vec<Candidate> {
        (0..self.pool.parts.len()).map(Candidate::Alone).collect()
    }

    /// How many steps a candidate takes.
    pub fn steps(&self, candidate: Candidate) -> u64 {
        let Training { rounds, local_steps, .. } = self.terms.training;
        let own = rounds * u64::from(local_steps);
        match candidate {
            Candidate::Centralized => own * self.pool.parts.len() as u64,
            Candidate::Alone(_) => own,
        }
    }

    /// Trains the candidates, the first first; one without anything to train on is passed over.
    ///
    /// # Errors
    /// If a training fails, the desk does, or the work was stopped.
    pub fn train_all(&self, candidates: &[Candidate], desk: &impl Desk<M>) -> Result<(), Failure> {
        if candidates.is_empty() {
            return Ok(());
        }
        let next = AtomicUsize::new(0);
        let work = || -> Result<(), Failure> {
            let mut model = self.take()?;
            while let Some(candidate) = candidates.get(next.fetch_add(1, Ordering::Relaxed)) {
                self.train(&mut model, *candidate, desk)?;
            }
            Ok(())
        };
        let workers = self.terms.workers.min(M::LOADED_MAX);
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
            let outcomes = workers.into_iter().map(|worker| {
                worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            });
            outcomes.collect()
        })
    }

    fn train(
        &self,
        model: &mut M,
        candidate: Candidate,
        desk: &impl Desk<M>,
    ) -> Result<(), Failure> {
        let turn =
            self.terms.turns.take(|| desk.goes_on().is_break()).map_err(Failure::environment)?;
        let _turn = turn.ok_or_else(interrupted)?;
        let part;
        let read = match candidate {
            Candidate::Centralized => &self.read,
            Candidate::Alone(index) => {
                let targets = |data: &Dataset| targets(&self.terms, data, desk);
                let whole = (&self.pool.whole, &self.read);
                part = model.read_part(whole, &self.pool.parts[index], &targets)?;
                &part
            }
        };
        let (start, plan) = (&self.terms.ground.initial, self.plan(candidate)?);
        let pupil = model.pupil();
        let mut course = match TrainingRun::begin(pupil, start, read, &plan) {
            Err(TrainError::Empty) if candidate != Candidate::Centralized => {
                desk.on_idle(candidate);
                return Ok(());
            }
            begun => begun.map_err(Failure::input)?,
        };
        if let Some(paused) = desk.earlier(candidate)? {
            course = course.resume(pupil, paused).map_err(Failure::input)?;
        }
        loop {
            let kept = Instant::now();
            let mut progress = |step: Step| {
                desk.on_step(candidate, step);
                match kept.elapsed() > KEEP_EVERY {
                    true => ControlFlow::Break(()),
                    false => desk.goes_on(),
                }
            };
            let ran = course.run(model.pupil(), read, &mut progress);
            desk.keep(candidate, &course.state(model.pupil()))?;
            ran.map_err(Failure::input)?;
            if let Some(trained) = course.trained(model.pupil()) {
                return desk.on_trained(candidate, model, &trained);
            }
            if desk.goes_on().is_break() {
                return Err(interrupted());
            }
        }
    }

    /// The steps of a federation's rounds, one after the other, from the base.
    fn plan(&self, candidate: Candidate) -> Result<TrainPlan, Failure> {
        let (training, steps) = (&self.terms.training, self.steps(candidate));
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
            seed: self.terms.seed,
            threads: self.terms.threads,
            strategy: witan_model::Strategy::FedAvg,
            round: 1,
        })
    }
}

fn load<M: Model>(terms: &Terms) -> Result<M, Failure> {
    M::load(&terms.ground.foundation, &terms.ground.lora, &terms.device)
}

/// What drawings of the captioned pictures should become, if there is a tower to say so.
fn targets(
    terms: &Terms,
    data: &Dataset,
    watch: &impl Watching,
) -> Result<Option<Targets>, Failure> {
    let Some(tower) = &terms.tower else { return Ok(None) };
    let mut told = |done, pictures| {
        watch.on_preparing(done, pictures);
        watch.goes_on()
    };
    let targets = tower.targets(data, &terms.targets, &terms.device, &mut told)?;
    targets.ok_or_else(interrupted).map(Some)
}

/// What ended early, because it was asked to.
pub fn interrupted() -> Failure {
    Failure::new(FailureKind::Interrupted, "interrupted")
}

/// Between two times that a training is kept; as much work is lost with the power.
const KEEP_EVERY: Duration = Duration::from_secs(10);
