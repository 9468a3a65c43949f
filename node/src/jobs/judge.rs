//! The launcher's judge: scores every committed adapter on data no member trains on, and trains the
//! adapters it is compared with (each member alone, and all data in one place). One thread; it takes
//! turns at the cores like any node.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use witan_model::data::Dataset;
use witan_model::{Adapter, EncodedShard, TrainPlan, Umm};
use witan_protocol::federation::Federation;

use super::score::{Exam, Marks};
use super::shard::{self, Pool};
use super::turns::Turns;
use super::{Ground, spawn};
use crate::error::Failure;
use crate::settings::DataSource;

/// What the judge is asked.
#[derive(Debug)]
enum Question {
    /// The marks of a committed adapter.
    Round { round: u64, adapter: Vec<u8> },
    /// The marks of what the federation is compared with.
    Comparison,
}

/// What the judge says.
#[derive(Debug)]
pub enum Verdict {
    /// The marks of the base: round 0.
    Round {
        /// The round; 0 is the base.
        round: u64,
        /// Its marks.
        marks: Marks,
    },
    /// The comparison goes on.
    Comparing {
        /// Which adapter is trained.
        what: String,
        /// Steps done.
        step: u64,
        /// Steps in all.
        steps: u64,
    },
    /// The comparison is done.
    Compared(Box<Comparison>),
}

/// The federation's peers in the table: the same base, data, steps and batch.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Comparison {
    /// The best member that trains alone, on its own part, for the same number of its own samples.
    pub local_only_best: Marks,
    /// Which member that is, by roster number.
    pub local_only_best_member: usize,
    /// One trainer with all data, for the same number of samples as all members together.
    pub centralized: Marks,
}

/// The launcher's end.
#[derive(Debug)]
pub struct Handle {
    questions: mpsc::Sender<Question>,
    verdicts: mpsc::Receiver<Result<Verdict, Failure>>,
    stopping: Arc<AtomicBool>,
}

impl Handle {
    /// Asks for the marks of a committed adapter. A judge that is far behind skips it.
    pub fn score(&self, round: u64, adapter: Vec<u8>) {
        let _ = self.questions.try_send(Question::Round { round, adapter });
    }

    /// Asks for the comparison.
    pub fn compare(&self) {
        let _ = self.questions.try_send(Question::Comparison);
    }

    /// The next verdict.
    pub async fn next(&mut self) -> Option<Result<Verdict, Failure>> {
        self.verdicts.recv().await
    }

    /// Ends running work early.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }
}

/// What is judged, and on what.
#[derive(Clone)]
pub struct Case {
    /// Base, LoRA layout and initial adapter.
    pub ground: Ground,
    /// The federation's training settings.
    pub federation: Federation,
    /// Where all members' data come from, as member 0 sees it.
    pub data: DataSource,
    /// Turns at the cores.
    pub turns: Turns,
}

/// Starts the judge. It scores the base at once.
///
/// # Errors
/// If the data cannot be read.
pub fn start(case: Case) -> Result<Handle, Failure> {
    let (questions, asked) = mpsc::channel(QUESTIONS_MAX);
    let (say, verdicts) = mpsc::channel(QUESTIONS_MAX);
    let stopping = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stopping);
    spawn("witan-judge", move || {
        if let Err(failure) = Judge::open(case, flag, say.clone()).and_then(|mut it| it.run(asked))
        {
            let _ = say.blocking_send(Err(failure));
        }
    })?;
    Ok(Handle { questions, verdicts, stopping })
}

struct Judge {
    case: Case,
    umm: Umm,
    exam: Exam,
    stopping: Arc<AtomicBool>,
    say: mpsc::Sender<Result<Verdict, Failure>>,
}

impl Judge {
    fn open(
        case: Case,
        stopping: Arc<AtomicBool>,
        say: mpsc::Sender<Result<Verdict, Failure>>,
    ) -> Result<Self, Failure> {
        let umm = Umm::new(&case.ground.base, &case.ground.lora).map_err(Failure::input)?;
        let exam = Exam::new(&umm, shard::exam(&case.data)?).map_err(Failure::input)?;
        Ok(Self { case, umm, exam, stopping, say })
    }

    fn run(&mut self, mut asked: mpsc::Receiver<Question>) -> Result<(), Failure> {
        let initial = Arc::clone(&self.case.ground.initial);
        let marks = self.marks(&initial)?;
        self.tell(Verdict::Round { round: 0, marks });
        while let Some(question) = asked.blocking_recv() {
            match question {
                Question::Round { round, adapter } => {
                    let adapter =
                        Adapter::from_bytes(&adapter, &initial).map_err(Failure::input)?;
                    let marks = self.marks(&adapter)?;
                    self.tell(Verdict::Round { round, marks });
                }
                Question::Comparison => {
                    let comparison = self.compare()?;
                    self.tell(Verdict::Compared(Box::new(comparison)));
                }
            }
        }
        Ok(())
    }

    fn marks(&mut self, adapter: &Adapter) -> Result<Marks, Failure> {
        let _turn = self.case.turns.take(|| self.is_stopping()).map_err(Failure::environment)?;
        self.umm.set_adapter(adapter).map_err(Failure::input)?;
        Ok(self.exam.marks(&self.umm, self.case.federation.document().seed))
    }

    fn compare(&mut self) -> Result<Comparison, Failure> {
        let rounds = self.case.federation.document().training.rounds;
        let mut best: Option<(usize, Marks)> = None;
        let Pool { whole, parts } = shard::pool(&self.case.data)?;
        for (index, part) in parts.iter().enumerate() {
            let part = whole.subset(&part.questions, &part.captions);
            let adapter = self.train(&format!("member {index:02} alone"), &part, rounds)?;
            let marks = self.marks(&adapter)?;
            if best.is_none_or(|(_, best)| total(&marks) > total(&best)) {
                best = Some((index, marks));
            }
        }
        let (local_only_best_member, local_only_best) =
            best.ok_or_else(|| Failure::input("a federation without members"))?;
        let steps = rounds * parts.len() as u64;
        let adapter = self.train("all data in one place", &whole, steps)?;
        let centralized = self.marks(&adapter)?;
        Ok(Comparison { local_only_best, local_only_best_member, centralized })
    }

    /// `rounds` times the local steps of the federation, one after the other, from the base.
    fn train(&mut self, what: &str, data: &Dataset, rounds: u64) -> Result<Adapter, Failure> {
        let _turn = self.case.turns.take(|| self.is_stopping()).map_err(Failure::environment)?;
        let shard = EncodedShard::encode(&self.umm, data).map_err(Failure::input)?;
        let document = self.case.federation.document();
        let steps = rounds * u64::from(document.training.local_steps);
        let plan = TrainPlan {
            local_steps: usize::try_from(steps).map_err(Failure::usage)?,
            batch_questions: document.training.batch_questions as usize,
            batch_captions: document.training.batch_captions as usize,
            learning_rate: document.training.learning_rate,
            weight_decay: document.training.weight_decay,
            seed: document.seed,
            threads: 1,
        };
        let (say, stopping) = (self.say.clone(), Arc::clone(&self.stopping));
        let mut progress = |step: witan_model::Step| {
            let step = u64::try_from(step.step).unwrap_or(u64::MAX);
            let verdict = Verdict::Comparing { what: what.to_owned(), step, steps };
            let _ = say.try_send(Ok(verdict));
            match stopping.load(Ordering::Relaxed) {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        };
        let initial = Arc::clone(&self.case.ground.initial);
        let trained = witan_model::train(&mut self.umm, &initial, &shard, &plan, &mut progress)
            .map_err(Failure::input)?;
        trained
            .map(|trained| trained.adapter)
            .ok_or_else(|| Failure::new(crate::error::FailureKind::Interrupted, "interrupted"))
    }

    fn tell(&self, verdict: Verdict) {
        let _ = self.say.blocking_send(Ok(verdict));
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }
}

fn total(marks: &Marks) -> f64 {
    marks.vqa_accuracy + marks.drawing_accuracy.unwrap_or(0.0)
}

/// Verdicts and questions waiting: a question a round, and progress that may be dropped.
const QUESTIONS_MAX: usize = 1024;
