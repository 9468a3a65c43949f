//! One trainer without a federation: all data in one place, or one member's part alone, from the base a
//! federation starts from, with its steps and batch and a smaller step size. A testnet's comparison and `witan
//! train` both train by it. As many threads as are asked for take one candidate after the other.

pub mod kept;

use std::fmt;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};

use witan_model::{Course, EncodedShard, Schedule, TrainPlan, Umm};
pub use witan_model::{Paused, Step, Trained};
use witan_protocol::federation::Training;

use super::Ground;
use super::device::Device;
use super::shard::{self, Pool};
use super::turns::Turns;
use crate::error::{Failure, FailureKind};
use crate::settings::DataSource;

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
    /// Candidates trained at once.
    pub workers: usize,
    /// Where it computes.
    pub device: Device,
    /// Turns at the cores.
    pub turns: Turns,
}

/// One adapter to train.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Candidate {
    /// On all data, for the same number of samples as all members together.
    Centralized,
    /// On one member's part, for the same number of samples as that member, by roster number.
    Alone(usize),
}

/// Hears of the candidates, and keeps what comes of them. Called from several threads.
pub trait Desk: Sync {
    /// Whether the work should end early.
    fn is_stopping(&self) -> bool;

    /// A step was taken.
    fn on_step(&self, candidate: Candidate, step: Step);

    /// Where an earlier run left a candidate.
    fn earlier(&self, _candidate: Candidate) -> Result<Option<Paused>, Failure> {
        Ok(None)
    }

    /// A candidate stands here: every so many steps, and before it ends early.
    fn keep(&self, _candidate: Candidate, _paused: &Paused) -> Result<(), Failure> {
        Ok(())
    }

    /// A candidate is trained; `umm` holds its adapter.
    fn on_trained(&self, candidate: Candidate, umm: &Umm, trained: &Trained)
    -> Result<(), Failure>;
}

/// All members' data, encoded once, and the terms.
pub struct Solo {
    terms: Terms,
    pool: Pool,
    encoded: EncodedShard,
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Centralized => f.write_str("all data in one place"),
            Self::Alone(index) => write!(f, "member {index:02} alone"),
        }
    }
}

impl Solo {
    /// Reads and encodes all data.
    ///
    /// # Errors
    /// If the data cannot be read.
    pub fn open(terms: Terms, data: &DataSource) -> Result<Self, Failure> {
        let pool = shard::pool(data)?;
        let encoded = EncodedShard::encode(&umm(&terms)?, &pool.whole);
        Ok(Self { terms, pool, encoded })
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
    pub fn train_all(&self, candidates: &[Candidate], desk: &impl Desk) -> Result<(), Failure> {
        let next = AtomicUsize::new(0);
        let work = || -> Result<(), Failure> {
            let mut umm = umm(&self.terms)?;
            while let Some(candidate) = candidates.get(next.fetch_add(1, Ordering::Relaxed)) {
                self.train(&mut umm, *candidate, desk)?;
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..self.terms.workers).map(|_| scope.spawn(work)).collect();
            let outcomes = workers.into_iter().map(|worker| {
                worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            });
            outcomes.collect()
        })
    }

    fn train(&self, umm: &mut Umm, candidate: Candidate, desk: &impl Desk) -> Result<(), Failure> {
        let interrupted = || Failure::new(FailureKind::Interrupted, "interrupted");
        let turn = self.terms.turns.take(|| desk.is_stopping()).map_err(Failure::environment)?;
        let _turn = turn.ok_or_else(interrupted)?;
        let part;
        let shard = match candidate {
            Candidate::Centralized => &self.encoded,
            Candidate::Alone(index) => {
                part = self.encoded.part(umm, &self.pool.whole, &self.pool.parts[index]);
                &part
            }
        };
        if shard.example_count() == 0 {
            return Ok(());
        }
        let (start, plan) = (&self.terms.ground.initial, self.plan(candidate)?);
        let mut course = Course::begin(umm, start, shard, &plan).map_err(Failure::input)?;
        if let Some(paused) = desk.earlier(candidate)? {
            course = course.resume(umm, paused).map_err(Failure::input)?;
        }
        let mut progress = |step: Step| {
            desk.on_step(candidate, step);
            match desk.is_stopping() || step.step.is_multiple_of(KEEP_EVERY) {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        };
        loop {
            course.run(umm, shard, &mut progress).map_err(Failure::input)?;
            if let Some(trained) = course.trained(umm) {
                return desk.on_trained(candidate, umm, &trained);
            }
            desk.keep(candidate, &course.pause(umm))?;
            if desk.is_stopping() {
                return Err(interrupted());
            }
        }
    }

    /// The steps of a federation's rounds, one after the other, from the base.
    fn plan(&self, candidate: Candidate) -> Result<TrainPlan, Failure> {
        let (training, steps) = (&self.terms.training, self.steps(candidate));
        let together = together(self.pool.parts.len());
        Ok(TrainPlan {
            local_steps: usize::try_from(steps).map_err(Failure::usage)?,
            batch_questions: training.batch_questions as usize,
            batch_captions: training.batch_captions as usize,
            accumulation: training.accumulation as usize,
            gradient_norm_max: training.gradient_norm_max.map(|norm| norm as f32),
            schedule: Schedule {
                learning_rate: training.learning_rate / together,
                learning_rate_final: training.learning_rate_final / together,
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

fn umm(terms: &Terms) -> Result<Umm, Failure> {
    let Terms { ground, device, .. } = terms;
    Umm::new(ground.foundation.embedded()?, &ground.lora, device).map_err(Failure::input)
}

/// How many times one trainer's step size the members of a federation take: √members. Their mean damps the noise of a
/// step by as much, as a batch so many times as large does, for which Adam's step size is to grow so (Malladi et al.,
/// arXiv 2205.10287). With one size for all, either two members diverge or sixteen crawl (`docs/LOG.md`).
pub fn together(members: usize) -> f64 {
    (members as f64).sqrt()
}

/// Steps between two times that a training is kept: a few seconds' work is lost with the power.
const KEEP_EVERY: usize = 50;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testnet::prepare::Plan;

    #[test]
    fn sixteen_members_take_four_times_the_step_size_of_one() {
        let rate = |nodes| Plan { nodes, ..Plan::default() }.training().learning_rate;
        assert_eq!(rate(1), Plan::default().learning_rate);
        assert_eq!(rate(16), 4.0 * rate(1));
        assert_eq!(rate(16) / together(16), rate(1), "what one of sixteen takes alone");
    }
}
