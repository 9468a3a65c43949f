//! What a federation is compared with: each member alone, and all data in one place, trained from the
//! same base with the same steps and batch and a smaller step size, scored on the same exam. Every core trains
//! one at a time.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use witan_model::{Adapter, EncodedShard, Schedule, TrainPlan, Umm};

use super::judge::{Case, Verdict};
use super::score::{Exam, Marks};
use super::shard::{self, Pool};
use crate::error::{Failure, FailureKind};

/// The federation's peers in the table.
#[derive(Debug, Serialize, Deserialize)]
pub struct Comparison {
    /// The best member that trains alone, on its own part, for the same number of its own samples.
    pub local_only_best: Marks,
    /// Which member that is, by roster number.
    pub local_only_best_member: usize,
    /// One trainer with all data, for the same number of samples as all members together.
    pub centralized: Marks,
}

/// Trains and scores them.
pub struct Comparer<'a> {
    /// The federation.
    pub case: &'a Case,
    /// Its held-out data.
    pub exam: &'a Exam,
    /// Ends the work early.
    pub stopping: &'a AtomicBool,
    /// Hears of every step.
    pub say: &'a mpsc::Sender<Result<Verdict, Failure>>,
}

/// All members' data, encoded once.
struct Everything {
    pool: Pool,
    encoded: EncodedShard,
}

/// One adapter to train.
#[derive(Clone, Copy)]
enum Candidate {
    Centralized,
    Alone(usize),
}

impl Comparer<'_> {
    /// Trains all of them.
    ///
    /// # Errors
    /// If the data cannot be read, a training fails, or the work was stopped.
    pub fn compare(&self) -> Result<Comparison, Failure> {
        let pool = shard::pool(&self.case.data)?;
        let encoded = EncodedShard::encode(&self.umm()?, &pool.whole);
        let everything = Everything { pool, encoded };
        // The longest first, so that no core is left alone with it.
        let alone = (0..everything.pool.parts.len()).map(Candidate::Alone);
        let candidates: Vec<_> = std::iter::once(Candidate::Centralized).chain(alone).collect();
        let mut marks = self.marks_of_all(&everything, &candidates)?.into_iter();
        let centralized = marks.next().flatten();
        let alone = marks.enumerate();
        let alone = alone.filter_map(|(index, marks)| Some((index, marks?)));
        let best = alone.reduce(|best, other| match total(&other.1) > total(&best.1) {
            true => other,
            false => best,
        });
        let (Some((local_only_best_member, local_only_best)), Some(centralized)) =
            (best, centralized)
        else {
            return Err(Failure::input("no member has anything to train on"));
        };
        Ok(Comparison { local_only_best, local_only_best_member, centralized })
    }

    /// The marks of the candidates, in order, none for one without anything to train on: as many threads as cores take one after the other.
    fn marks_of_all(
        &self,
        everything: &Everything,
        candidates: &[Candidate],
    ) -> Result<Vec<Option<Marks>>, Failure> {
        let next = AtomicUsize::new(0);
        let work = || -> Result<Vec<(usize, Option<Marks>)>, Failure> {
            let mut umm = self.umm()?;
            let mut done = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(candidate) = candidates.get(index) else { return Ok(done) };
                done.push((index, self.marks(&mut umm, everything, *candidate)?));
            }
        };
        let mut marks = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..self.case.turns.count()).map(|_| scope.spawn(work)).collect();
            let outcomes = workers.into_iter().map(|worker| {
                worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            });
            outcomes.collect::<Result<Vec<_>, _>>()
        })?
        .concat();
        marks.sort_unstable_by_key(|(index, _)| *index);
        Ok(marks.into_iter().map(|(_, marks)| marks).collect())
    }

    fn marks(
        &self,
        umm: &mut Umm,
        everything: &Everything,
        candidate: Candidate,
    ) -> Result<Option<Marks>, Failure> {
        let Everything { pool: Pool { whole, parts }, encoded } = everything;
        let rounds = self.case.federation.document().training.rounds;
        let is_stopping = || self.stopping.load(Ordering::Relaxed);
        let _turn = self.case.turns.take(is_stopping).map_err(Failure::environment)?;
        let part;
        let (what, shard, rounds) = match candidate {
            Candidate::Centralized => {
                ("all data in one place".to_owned(), encoded, rounds * parts.len() as u64)
            }
            Candidate::Alone(index) => {
                part = encoded.part(umm, whole, &parts[index]);
                (format!("member {index:02} alone"), &part, rounds)
            }
        };
        if shard.example_count() == 0 {
            return Ok(None);
        }
        let adapter = self.train(umm, &what, shard, rounds)?;
        umm.set_adapter(&adapter).map_err(Failure::input)?;
        Ok(Some(self.exam.marks(umm, self.case.federation.document().seed)))
    }

    /// `rounds` times the local steps of the federation, one after the other, from the base.
    fn train(
        &self,
        umm: &mut Umm,
        what: &str,
        shard: &EncodedShard,
        rounds: u64,
    ) -> Result<Adapter, Failure> {
        let document = self.case.federation.document();
        let steps = rounds * u64::from(document.training.local_steps);
        let plan = TrainPlan {
            local_steps: usize::try_from(steps).map_err(Failure::usage)?,
            batch_questions: document.training.batch_questions as usize,
            batch_captions: document.training.batch_captions as usize,
            schedule: Schedule {
                learning_rate: document.training.learning_rate * ALONE,
                learning_rate_final: document.training.learning_rate_final * ALONE,
                done: 0,
                total: steps,
            },
            weight_decay: document.training.weight_decay,
            seed: document.seed,
            threads: 1,
            strategy: witan_model::Strategy::FedAvg,
            round: 1,
        };
        let mut progress = |step: witan_model::Step| {
            let step = u64::try_from(step.step).unwrap_or(u64::MAX);
            let verdict = Verdict::Comparing { what: what.to_owned(), step, steps };
            let _ = self.say.try_send(Ok(verdict));
            match self.stopping.load(Ordering::Relaxed) {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        };
        let initial = Arc::clone(&self.case.ground.initial);
        let trained = witan_model::train(umm, &initial, shard, &plan, &mut progress)
            .map_err(Failure::input)?;
        trained
            .map(|trained| trained.adapter)
            .ok_or_else(|| Failure::new(FailureKind::Interrupted, "interrupted"))
    }

    fn umm(&self) -> Result<Umm, Failure> {
        let Case { ground, device, .. } = self.case;
        Umm::new(&ground.base, &ground.lora, device).map_err(Failure::input)
    }
}

fn total(marks: &Marks) -> f64 {
    marks.vqa_accuracy.unwrap_or(0.0) + marks.drawing_accuracy.unwrap_or(0.0)
}

/// The share of the federation's step size at which one trainer learns best: without the average over members, which
/// damps the noise, the whole of it diverges (`docs/LOG.md` has what other shares gave).
const ALONE: f64 = 0.3;
