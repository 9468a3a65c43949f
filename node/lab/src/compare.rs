//! What a federation is compared with: each member alone, and all data in one place, scored on the same exam.

use std::ops::ControlFlow;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use witan_home::Failure;
use witan_node::jobs::goes_on;
use witan_node::jobs::model::Model;
use witan_node::jobs::score::Marks;
use witan_node::jobs::shard::{self, Pool};
use witan_node::jobs::tower::{FOLDER, Tower};

use crate::event::Event;
use crate::judge::Case;
use crate::testnet::Heard;
use crate::training::{Candidate, Desk, Solo, Step, Terms, Trained, Watching, interrupted};

/// The federation's peers in the table.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Comparison {
    /// The best member that trains alone, on its own part, for the same number of its own samples.
    pub local_only_best: Marks,
    /// Which member that is, by roster number.
    pub local_only_best_member: usize,
    /// One trainer with all data, for the same number of samples as all members together.
    pub centralized: Marks,
}

/// Trains and scores them.
pub struct Comparer<'a, M: Model> {
    /// The federation.
    pub case: &'a Case,
    /// Its held-out data.
    pub exam: &'a M::Exam,
    /// Ends the work early.
    pub stopping: &'a AtomicBool,
    /// Hears of every step.
    pub say: &'a mpsc::Sender<Heard>,
}

impl<M: Model> Comparer<'_, M> {
    /// Trains all of them.
    ///
    /// # Errors
    /// If the data cannot be read, a training fails, or the work was stopped.
    pub fn compare(&self) -> Result<Comparison, Failure> {
        let Case { ground, federation, data, device, turns, targets } = self.case;
        let document = federation.document();
        let pool = shard::pool(data)?;
        let terms = Terms {
            ground: ground.clone(),
            training: document.training.clone(),
            seed: document.seed,
            threads: 1,
            workers: turns.count(),
            device: device.clone(),
            turns: turns.clone(),
            tower: self.tower(&pool)?,
            targets: targets.clone(),
        };
        let marks = MarksDesk { comparer: self, marks: Mutex::default() };
        let solo = Solo::open(terms, pool, &marks)?;
        // The longest first, so that no core is left alone with it.
        let candidates = [vec![Candidate::Centralized], solo.members()].concat();
        let (count, steps) = (candidates.len(), candidates.iter().map(|it| solo.steps(*it)).sum());
        let _ = self.say.blocking_send(Ok(Event::Trainings { count, steps, done: 0 }));
        solo.train_all(&candidates, &marks)?;
        let mut marks = marks.marks.into_inner().expect("no worker has panicked");
        marks.sort_unstable_by_key(|(member, _)| *member);
        let (mut centralized, mut best) = (None, None);
        for (member, marks) in marks {
            let Some(member) = member else {
                centralized = Some(marks);
                continue;
            };
            if best.as_ref().is_none_or(|(_, best): &(usize, Marks)| marks.total() > best.total()) {
                best = Some((member, marks));
            }
        }
        let (Some((local_only_best_member, local_only_best)), Some(centralized)) =
            (best, centralized)
        else {
            return Err(Failure::input("no member has anything to train on"));
        };
        Ok(Comparison { local_only_best, local_only_best_member, centralized })
    }

    /// The one that the members' drawings were made with, or nothing is compared with them.
    fn tower(&self, pool: &Pool) -> Result<Option<Tower>, Failure> {
        let Case { ground, federation, .. } = self.case;
        if pool.whole.captions.is_empty() {
            return Ok(None);
        }
        let tower = ground.foundation.agreed_tower(federation)?;
        match federation.document().tower {
            Some(named) if tower.is_none() => Err(Failure::input(format!(
                "the tower {} that the members learnt to draw by is gone",
                named.short()
            ))
            .hint(format!(
                "put it back into the checkpoint's folder {FOLDER}, or say --no-compare"
            ))),
            _ => Ok(tower),
        }
    }
}

/// Collects the marks, by member; none for all data in one place.
struct MarksDesk<'a, M: Model> {
    comparer: &'a Comparer<'a, M>,
    marks: Mutex<Vec<(Option<usize>, Marks)>>,
}

impl<M: Model> Watching for MarksDesk<'_, M> {
    fn goes_on(&self) -> ControlFlow<()> {
        goes_on(self.comparer.stopping)
    }

    fn on_preparing(&self, done: usize, pictures: usize) {
        let _ = self.comparer.say.try_send(Ok(Event::Preparing { done, pictures }));
    }
}

impl<M: Model> Desk<M> for MarksDesk<'_, M> {
    fn on_step(&self, candidate: Candidate, step: Step) {
        let _ = self.comparer.say.try_send(Ok(Event::Step { candidate, step }));
    }

    fn on_trained(
        &self,
        candidate: Candidate,
        model: &M,
        _trained: &Trained,
    ) -> Result<(), Failure> {
        let seed = self.comparer.case.federation.document().seed;
        let marks = model.marks(self.comparer.exam, seed, &mut |_, _| self.goes_on())?;
        let marks = marks.ok_or_else(interrupted)?;
        self.marks.lock().expect("no worker has panicked").push((candidate.member(), marks));
        Ok(())
    }
}
