//! The launcher's judge: scores every committed adapter on data no member trains on, and has the
//! adapters trained that it is compared with. One thread; it takes turns at the cores like any node.

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
use witan_node::jobs::{Ground, goes_on, spawn};
use witan_protocol::federation::Federation;

use crate::compare::Comparer;
use crate::event::Event;
use crate::testnet::Heard;

/// What the judge is asked.
#[derive(Debug)]
enum Question {
    /// The marks of a committed adapter.
    Round { round: u64, adapter: Vec<u8> },
    /// The marks of what the federation is compared with.
    Comparison,
}

/// The launcher's end.
#[derive(Debug)]
pub struct Handle {
    questions: mpsc::Sender<Question>,
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
    /// Where it computes.
    pub device: Device,
    /// Turns at the cores.
    pub turns: Turns,
    /// Where a checkpoint's targets are kept, for the comparison.
    pub targets: PathBuf,
}

/// Starts the judge, whose verdicts go to `say`. It scores the base at once.
///
/// # Errors
/// If the data cannot be read.
pub fn start(case: Case, say: mpsc::Sender<Heard>) -> Result<Handle, Failure> {
    let (questions, asked) = mpsc::channel(QUESTIONS_MAX);
    let stopping = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stopping);
    let if_panics = say.clone();
    let work = move || {
        let judged = match case.ground.foundation {
            Foundation::Embedded(_) => Judge::<Umm>::sit(case, flag, say.clone(), asked),
            Foundation::Blip3o(_) => Judge::<Unified>::sit(case, flag, say.clone(), asked),
        };
        if let Err(failure) = judged {
            let _ = say.blocking_send(Err(failure));
        }
    };
    spawn("witan-judge", work, move |failure| drop(if_panics.blocking_send(Err(failure))))?;
    Ok(Handle { questions, stopping })
}

struct Judge<M: Model> {
    case: Case,
    model: M,
    exam: M::Exam,
    stopping: Arc<AtomicBool>,
    say: mpsc::Sender<Heard>,
}

impl<M: Model> Judge<M> {
    /// Answers until nobody asks any more.
    fn sit(
        case: Case,
        stopping: Arc<AtomicBool>,
        say: mpsc::Sender<Heard>,
        asked: mpsc::Receiver<Question>,
    ) -> Result<(), Failure> {
        let Case { ground, device, .. } = &case;
        let paper = shard::exam(&case.data, Extent::Sample)?;
        let model = M::load(&ground.foundation, &ground.lora, device)?;
        let exam = model.examine(paper)?;
        Self { case, model, exam, stopping, say }.run(asked)
    }

    fn run(mut self, mut asked: mpsc::Receiver<Question>) -> Result<(), Failure> {
        let initial = Committed::plain(Adapter::clone(&self.case.ground.initial));
        let ceiling = M::ceiling(&self.exam);
        if let Some(overall) = ceiling.all.overall() {
            self.tell(Event::Ceiling { overall, by_task: by_task(&ceiling) });
        }
        let undrawn = M::undrawn(&self.exam);
        if undrawn.count > 0 {
            self.tell(Event::Undrawn(undrawn));
        }
        let Some(marks) = self.marks(&initial)? else { return Ok(()) };
        self.tell(Event::Evaluated { round: 0, metrics: marks });
        while let Some(question) = asked.blocking_recv() {
            match question {
                Question::Round { round, adapter } => {
                    let committed = self.case.ground.committed(&adapter).map_err(Failure::input)?;
                    let Some(marks) = self.marks(&committed)? else { return Ok(()) };
                    self.tell(Event::Evaluated { round, metrics: marks });
                }
                Question::Comparison => {
                    let Self { case, model, exam, stopping, say } = self;
                    // Before others of its size are loaded: nothing is asked after this.
                    drop(model);
                    let (case, exam, stopping) = (&case, &exam, &stopping);
                    let compared = Comparer::<M> { case, exam, stopping, say: &say }.compare()?;
                    let _ = say.blocking_send(Ok(Event::Compared(Box::new(compared))));
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// None if it was stopped.
    fn marks(&mut self, committed: &Committed) -> Result<Option<Marks>, Failure> {
        let _turn = self.case.turns.take(|| self.is_stopping()).map_err(Failure::environment)?;
        self.model.adopt(committed)?;
        let seed = self.case.federation.document().seed;
        self.model.marks(&self.exam, seed, &mut |_, _| goes_on(&self.stopping))
    }

    fn tell(&self, event: Event) {
        let _ = self.say.blocking_send(Ok(event));
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }
}

/// Questions waiting: one a round.
const QUESTIONS_MAX: usize = 1024;
