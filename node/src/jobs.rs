//! The work a node does off its loop: training, aggregating, checking adapters. The only folder of
//! this crate that names the model, and only by [`witan_model::trainable`].
//!
//! Two threads, each with a bounded queue: one trains, one aggregates, so that a member in the
//! middle of a long training still verifies and votes.

pub mod aggregate;
pub mod check;
pub mod core_slots;
pub mod error_feedback;
mod federated_model;
pub mod selected;
pub mod train;

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc;
use witan_home::Failure;
use witan_home::settings::Settings;
use witan_protocol::digest::BlobRef;
use witan_protocol::federation::Federation;
use witan_protocol::io::{AggregateInput, Input, JobId};
use witan_protocol::member::Round;

pub use federated_model::FederatedModel;
use train::Places;

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
    /// A task is done, or has failed; the participant is to hear of it.
    Done {
        /// Its round.
        round: Round,
        /// What the participant hears: trained, training failed, aggregated or adopted.
        input: Input,
    },
    /// The disk refused: the node cannot go on.
    Broken(Failure),
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
        model: FederatedModel,
        federation: &Federation,
        settings: &Settings,
        places: Places,
    ) -> Result<(Self, mpsc::Receiver<Event>), Failure> {
        let stopping = Arc::new(AtomicBool::new(false));
        let (events, receiver) = mpsc::channel(EVENTS_MAX);
        let (train, train_tasks) = mpsc::channel(TASKS_MAX);
        let (compute, compute_tasks) = mpsc::channel(TASKS_MAX);
        let blobs = places.blobs.clone();
        let stop = Arc::clone(&stopping);
        let trainer = train::Trainer::new(model.clone(), federation, settings, places, stop)?;
        let aggregation = model.aggregation;
        let for_trainer = events.clone();
        let broken = |events: mpsc::Sender<Event>| {
            move |failure| drop(events.blocking_send(Event::Broken(failure)))
        };
        let (if_trainer, if_aggregator) = (broken(events.clone()), broken(events.clone()));
        spawn("witan-train", move || trainer.run(train_tasks, for_trainer), if_trainer)?;
        spawn(
            "witan-aggregate",
            move || aggregate::run(&aggregation, &blobs, compute_tasks, events),
            if_aggregator,
        )?;
        Ok((Self { train, compute, stopping }, receiver))
    }

    /// Queues a task. The participant never has more than a few under way, so the queues never
    /// fill; if one does, the task is refused rather than waited for.
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
