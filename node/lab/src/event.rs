//! Everything an experiment can say while it runs, whatever it is. A view is a fold over these.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use witan_data::evaluation::Skipped;
use witan_data::metrics::Metrics;
use witan_home::Failure;
use witan_model::Step;
use witan_node::events::TimedEvent;
use witan_node::jobs::goes_on;
use witan_protocol::member::MemberId;
use witan_protocol::wire::RoundRecord;

use crate::candidate::{Candidate, Comparison, TrainedRow};
use crate::tables::Ceiling;

/// One event.
#[derive(Clone, Debug)]
pub enum Event {
    /// A sentence for people.
    Said(String),
    /// A run of a grid begins.
    Run {
        /// What it is.
        run: String,
        /// Its number, from 1.
        number: usize,
        /// Runs to do.
        of: usize,
        /// How long they take by those that are done.
        left: Option<Duration>,
    },
    /// The nodes of a testnet are about to start.
    Begins {
        /// The testnet's folder.
        dir: PathBuf,
        /// Its members, in roster order.
        members: Vec<MemberId>,
    },
    /// An earlier run committed this round.
    Recalled(Box<RoundRecord>),
    /// The process of a node is started.
    Started {
        /// Its roster number.
        node: usize,
    },
    /// A node reports.
    Node {
        /// Its roster number.
        node: usize,
        /// What happened there.
        event: Box<TimedEvent>,
    },
    /// The process of a node has ended.
    Ended {
        /// Its roster number.
        node: usize,
        /// Its exit code; `None` after a signal.
        code: Option<i32>,
        /// The last lines it wrote to standard error.
        stderr: String,
    },
    /// Trainings begin.
    Trainings {
        /// How many.
        count: usize,
        /// Steps of all of them.
        steps: u64,
        /// Steps that an earlier run did.
        done: u64,
    },
    /// Work that is counted goes on.
    Counted {
        /// Which.
        work: Work,
        /// How many are done.
        done: usize,
        /// Of how many.
        of: usize,
    },
    /// A training took a step.
    Step {
        /// What is trained.
        candidate: Candidate,
        /// The step.
        step: Step,
    },
    /// A candidate is trained and evaluated.
    Trained(Box<TrainedRow>),
    /// What a round committed is evaluated.
    Evaluated {
        /// The round; 0 is the base.
        round: u64,
        /// Its metrics.
        metrics: Metrics,
    },
    /// What no drawing can be expected to exceed.
    Ceiling(Ceiling),
    /// Some of the evaluation set's prompts are not drawn.
    Skipped(Skipped),
    /// The adapters that a federation is compared with are trained and evaluated.
    Compared(Box<Comparison>),
    /// The experiment is over; its report follows.
    Over,
}

/// Work that is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// What drawings of pictures should become is made, before the first step.
    Targets,
    /// The evaluation set's questions are answered.
    Answers,
}

/// An event, or why there are no more.
pub type Heard = Result<Event, Failure>;

/// Hears every event, from several threads.
pub type Listener = Arc<dyn Fn(&Event) + Send + Sync>;

/// Hears of long work, and may stop it.
#[derive(Clone)]
pub struct Observer {
    /// Hears of it.
    pub listener: Listener,
    /// Set when it is to end early.
    pub stopping: Arc<AtomicBool>,
}

impl Observer {
    /// One that wants the work to go on.
    pub fn new(listener: Listener) -> Self {
        Self { listener, stopping: Arc::default() }
    }

    /// Something happened.
    pub fn say(&self, event: Event) {
        (self.listener)(&event);
    }

    /// Whether the work goes on.
    pub fn goes_on(&self) -> ControlFlow<()> {
        goes_on(&self.stopping)
    }
}
