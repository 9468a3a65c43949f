//! The work a node does off its loop: training, aggregating, checking adapters. The only folder of
//! this crate that names the model.
//!
//! Two threads, each with a bounded queue: one trains, one aggregates, so that a member in the middle
//! of a long training still verifies and votes.

pub mod aggregate;
pub mod check;
pub mod checkpoint;
pub mod chosen;
pub mod device;
pub mod evaluate;
pub mod foundation;
pub mod learner;
pub mod model;
pub mod owed;
pub mod pretrain;
pub mod recipe;
pub mod score;
pub mod shard;
pub mod show;
pub mod speak;
pub mod tower;
pub mod train;
pub mod turns;
pub mod unified;

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc;
use witan_home::settings::Settings;
use witan_home::{Failure, Home};
use witan_model::{Adapter, AdapterError, Base, Committed};
pub use witan_model::{LoraConfig, Umm};
use witan_protocol::digest::{BlobRef, Digest};
use witan_protocol::federation::{Federation, Training};
use witan_protocol::io::{Aggregate, AggregateInput, JobId};
use witan_protocol::member::{MemberId, Round};
use witan_protocol::wire::Scores;

use foundation::Foundation;
use recipe::Recipe;
use train::Shelves;

/// Work asked of the jobs.
#[derive(Debug)]
pub enum Task {
    /// Train from `start`.
    Train {
        /// To be echoed.
        job: JobId,
        /// The round, which seeds the order of the data.
        round: Round,
        /// The committed adapter.
        start: BlobRef,
    },
    /// Compute an aggregate.
    Aggregate {
        /// To be echoed.
        job: JobId,
        /// The round, which says what travelled.
        round: Round,
        /// The adapter the round started from.
        start: BlobRef,
        /// Deltas and weights in roster order.
        inputs: Vec<AggregateInput>,
    },
    /// Check that a committed adapter can be used.
    Adopt {
        /// To be echoed.
        job: JobId,
        /// Its round.
        round: Round,
        /// The adapter.
        adapter: BlobRef,
    },
}

/// What came of it.
#[derive(Debug)]
pub enum Event {
    /// Targets of drawings are made before the first step, of so many pictures.
    Preparing {
        /// Pictures done.
        done: usize,
        /// Pictures in all.
        pictures: usize,
    },
    /// A training step was done (or, at step 0, the turn has come).
    Progress {
        /// The job.
        job: JobId,
        /// Its round.
        round: Round,
        /// Steps done.
        step: u64,
        /// Steps in all.
        steps: u64,
        /// Questions and captions drawn for these steps.
        examples: u64,
        /// The newest loss.
        loss: f32,
    },
    /// Training is done, its delta stored.
    Trained {
        /// The job.
        job: JobId,
        /// Its round.
        round: Round,
        /// The delta.
        delta: BlobRef,
        /// Samples seen.
        examples: u64,
        /// Steps taken.
        steps: u64,
        /// Measured.
        scores: Scores,
    },
    /// Training failed.
    TrainFailed {
        /// The job.
        job: JobId,
        /// Its round.
        round: Round,
        /// Why.
        reason: String,
    },
    /// Aggregation is done.
    Aggregated {
        /// The job.
        job: JobId,
        /// The stored aggregate, or whose deltas are unusable.
        result: Result<Aggregate, Vec<(MemberId, String)>>,
    },
    /// The adapter is usable.
    Adopted {
        /// The job.
        job: JobId,
        /// Its round.
        round: Round,
    },
    /// The disk refused: the node cannot go on.
    Broken(Failure),
}

/// The federation's model as this node holds it: base, LoRA layout and the adapter all start from.
#[derive(Clone)]
pub struct Ground {
    /// The frozen model.
    pub foundation: Foundation,
    /// The LoRA layout.
    pub lora: LoraConfig,
    /// The adapter before round 1, the same on every member.
    pub initial: Arc<Adapter>,
    /// How updates are written and combined.
    pub recipe: Recipe,
}

impl Ground {
    /// The model's part of a home's federation; the model itself is not read.
    ///
    /// # Errors
    /// If the model is neither the embedded one nor where `node.toml` says.
    pub fn of_home(home: &Home, federation: &Federation) -> Result<Self, Failure> {
        Self::new(Foundation::of(home, federation)?, federation)
    }

    /// The model's part of `federation`.
    ///
    /// # Errors
    /// If the federation's strategy cannot be used with the model, or a target of its adapter is no layer of it.
    pub fn new(foundation: Foundation, federation: &Federation) -> Result<Self, Failure> {
        let document = federation.document();
        let lora = LoraConfig {
            rank: document.lora.rank as usize,
            alpha: document.lora.alpha,
            dropout: document.lora.dropout,
            targets: document.lora.targets.clone(),
        };
        foundation.takes(document.training.strategy)?;
        foundation.has_layers(&lora)?;
        Ok(Self::of(foundation, lora, &document.training, document.seed))
    }

    /// The same without a federation.
    pub fn of(foundation: Foundation, lora: LoraConfig, training: &Training, seed: u64) -> Self {
        let initial = Arc::new(foundation.initial(&lora, seed));
        Self { foundation, lora, initial, recipe: Recipe::of(training) }
    }

    /// The adapted layers, in the order in which records list them.
    pub fn layers(&self) -> Vec<String> {
        witan_model::strategy::layers(&self.initial).map(|layer| layer.path).collect()
    }

    /// The adapter before round 1, as its blob is named.
    pub fn start(&self) -> BlobRef {
        BlobRef::of(&self.initial.to_bytes())
    }

    /// Reads what a round committed.
    ///
    /// # Errors
    /// If the bytes are not what this federation commits.
    pub fn committed(&self, bytes: &[u8]) -> Result<Committed, AdapterError> {
        Committed::from_bytes(bytes, &self.initial, &self.recipe.strategy)
    }
}

/// The digest by which a federation names its base: sizes and weights.
pub fn base_digest(base: &Base) -> Digest {
    let sizes = serde_json::to_vec(base.config()).expect("a model's sizes are plain JSON");
    Digest::of_kind("witan base model", &[sizes, base.weight_bytes()].concat())
}

/// The running threads' doors.
#[derive(Debug)]
pub struct Jobs {
    train: mpsc::Sender<Task>,
    compute: mpsc::Sender<Task>,
    stopping: Arc<AtomicBool>,
}

impl Jobs {
    /// Starts the threads. The data are read before this returns, so that bad data stop the start.
    ///
    /// # Errors
    /// If the data cannot be read or a thread cannot be started.
    pub fn start(
        ground: Ground,
        federation: &Federation,
        settings: &Settings,
        shelves: Shelves,
    ) -> Result<(Self, mpsc::Receiver<Event>), Failure> {
        let stopping = Arc::new(AtomicBool::new(false));
        let (events, receiver) = mpsc::channel(EVENTS_MAX);
        let (train, train_tasks) = mpsc::channel(TASKS_MAX);
        let (compute, compute_tasks) = mpsc::channel(TASKS_MAX);
        let blobs = shelves.blobs.clone();
        let stop = Arc::clone(&stopping);
        let trainer = train::Trainer::new(ground.clone(), federation, settings, shelves, stop)?;
        let aggregator = aggregate::Aggregator::new(ground, blobs);
        let for_trainer = events.clone();
        let broken = |events: mpsc::Sender<Event>| {
            move |failure| drop(events.blocking_send(Event::Broken(failure)))
        };
        let (if_trainer, if_aggregator) = (broken(events.clone()), broken(events.clone()));
        spawn("witan-train", move || trainer.run(train_tasks, for_trainer), if_trainer)?;
        spawn("witan-aggregate", move || aggregator.run(compute_tasks, events), if_aggregator)?;
        Ok((Self { train, compute, stopping }, receiver))
    }

    /// Queues a task. The participant never has more than a few under way, so the queues never fill;
    /// if one does, the task is refused rather than waited for.
    ///
    /// # Errors
    /// If the queue is full or its thread is gone: our own bug.
    pub fn submit(&self, task: Task) -> Result<(), Failure> {
        let queue = match task {
            Task::Train { .. } => &self.train,
            Task::Aggregate { .. } | Task::Adopt { .. } => &self.compute,
        };
        queue.try_send(task).map_err(|error| {
            Failure::environment(format!("a worker thread does not take its work: {error}"))
        })
    }

    /// Asks running work to end early.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }
}

/// Starts a thread. If it panics, which is our own bug, whoever waits for it is told by `on_panic`.
///
/// # Errors
/// If the system refuses a thread.
pub fn spawn(
    name: &'static str,
    work: impl FnOnce() + Send + 'static,
    on_panic: impl FnOnce(Failure) + Send + 'static,
) -> Result<(), Failure> {
    let guarded = move || {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(work)) {
            let words = panic.downcast_ref::<String>().map(String::as_str);
            let words = words.or_else(|| panic.downcast_ref::<&str>().copied());
            let message = format!("thread {name} panicked: {}", words.unwrap_or("without words"));
            on_panic(Failure::environment(message).hint("this is a bug of this program"));
        }
    };
    std::thread::Builder::new()
        .name(name.into())
        .spawn(guarded)
        .map(|_| ())
        .map_err(|error| Failure::environment(format!("cannot start thread {name}: {error}")))
}

/// What long work is told between two of its parts.
pub fn goes_on(stopping: &AtomicBool) -> ControlFlow<()> {
    match stopping.load(Ordering::Relaxed) {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    }
}

/// Tasks waiting for a thread.
const TASKS_MAX: usize = 64;
/// Events waiting for the driver.
const EVENTS_MAX: usize = 256;

/// The base that ships inside the program.
///
/// # Errors
/// If it is damaged: the program must be built again.
pub fn embedded_base() -> Result<Base, Failure> {
    Ok(Base::embedded())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_panics_says_so() {
        let (say, hear) = std::sync::mpsc::channel();
        let told = move |failure| drop(say.send(failure));
        spawn("some-thread", || panic!("for {}", "a test"), told).unwrap();
        let failure: Failure = hear.recv_timeout(std::time::Duration::from_secs(30)).unwrap();
        assert_eq!(failure.message, "thread some-thread panicked: for a test");
    }
}
