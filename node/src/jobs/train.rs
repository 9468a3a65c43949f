//! Training, bytes in and bytes out: reads the committed adapter, trains on this member's data, stores
//! the delta. The data and their cached features live on this thread and nowhere else.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc;
use witan_model::data::tokenizer::WordError;
use witan_model::{Adapter, EncodedShard, Schedule, TrainPlan, Umm};
use witan_protocol::digest::BlobRef;
use witan_protocol::federation::{Federation, Training};
use witan_protocol::io::JobId;
use witan_protocol::member::Round;

use super::device::{self, Device};
use super::score::Exam;
use super::shard::{self, Shard};
use super::turns::{Turn, Turns};
use super::{Event, Ground, Task};
use crate::error::Failure;
use crate::settings::Settings;
use crate::store::blobs::Blobs;

/// Owns what training needs.
pub struct Trainer {
    ground: Ground,
    training: Training,
    seed: u64,
    threads: usize,
    device: Device,
    shard: Shard,
    turns: Turns,
    blobs: Blobs,
    stopping: Arc<AtomicBool>,
}

/// The model and the member's data, encoded once, on the first turn.
struct Bench {
    umm: Umm,
    training: EncodedShard,
    held_out: Exam,
}

impl Trainer {
    /// Opens the device and the turns and reads the data; trains nothing yet.
    ///
    /// # Errors
    /// If there is no such device, or the data or the folder of turns cannot be read.
    pub fn new(
        ground: Ground,
        federation: &Federation,
        settings: &Settings,
        blobs: Blobs,
        stopping: Arc<AtomicBool>,
    ) -> Result<Self, Failure> {
        let device = device::open(settings.device)?;
        let turns = Turns::open(settings.turns.as_deref()).map_err(|error| {
            let folder = settings.turns.as_deref().unwrap_or(Path::new("")).display();
            Failure::input(format!("cannot read the folder of turns {folder}: {error}"))
                .hint("a node that shares its machine with no other needs no `turns` in node.toml")
        })?;
        Ok(Self {
            ground,
            training: federation.document().training.clone(),
            seed: federation.document().seed,
            threads: settings.threads,
            device,
            shard: shard::read(&settings.data)?,
            turns,
            blobs,
            stopping,
        })
    }

    /// Works until the queue closes.
    pub fn run(self, mut tasks: mpsc::Receiver<Task>, events: mpsc::Sender<Event>) {
        let mut bench = None;
        while let Some(task) = tasks.blocking_recv() {
            let Task::Train { job, round, start } = task else {
                unreachable!("only training is queued here")
            };
            let event = match self.train(job, round, &start, &mut bench, &events) {
                Ok(Some(event)) => event,
                Ok(None) => return,
                Err(failure) => Event::TrainFailed { job, round, reason: failure.message },
            };
            if events.blocking_send(event).is_err() {
                return;
            }
        }
    }

    /// One round's training; `None` if the node is stopping.
    fn train(
        &self,
        job: JobId,
        round: Round,
        start: &BlobRef,
        bench: &mut Option<Bench>,
        events: &mpsc::Sender<Event>,
    ) -> Result<Option<Event>, Failure> {
        let Some(_turn) = self.turn()? else { return Ok(None) };
        let bench = match bench {
            Some(bench) => bench,
            None => bench.insert(self.bench()?),
        };
        let steps = u64::from(self.training.local_steps);
        let tell = |step, loss| {
            let event = Event::Progress { job, round, step, steps, loss };
            // A full queue only means that the driver is behind: the next step tells again.
            let _ = events.try_send(event);
        };
        tell(0, 0.0);
        let start = Adapter::from_bytes(&self.blobs.read(start)?, &self.ground.initial)
            .map_err(Failure::input)?;
        bench.umm.set_adapter(&start).map_err(Failure::input)?;
        let mut scores = bench.held_out.scores(&bench.umm, self.seed ^ round.0);
        let plan = self.plan(round);
        let trained =
            witan_model::train(&mut bench.umm, &start, &bench.training, &plan, &mut |step| {
                let loss = step.answer_loss.unwrap_or(0.0) + step.flow_loss.unwrap_or(0.0);
                tell(step.step as u64, loss);
                match self.is_stopping() {
                    true => ControlFlow::Break(()),
                    false => ControlFlow::Continue(()),
                }
            });
        let Some(trained) = trained.map_err(Failure::input)? else { return Ok(None) };
        scores.loss = trained.loss;
        let delta = self.blobs.put(&trained.adapter.delta(&start).to_bytes())?;
        Ok(Some(Event::Trained {
            job,
            round,
            delta,
            examples: trained.examples,
            steps: trained.steps,
            scores,
        }))
    }

    fn bench(&self) -> Result<Bench, Failure> {
        let umm =
            Umm::new(&self.ground.base, &self.ground.lora, &self.device).map_err(Failure::input)?;
        let training = EncodedShard::encode(&umm, &self.shard.training);
        if training.example_count() == 0 {
            return Err(nothing_to_train_on(training.unknown()));
        }
        let held_out = Exam::of_member(&umm, &self.shard.held_out);
        Ok(Bench { umm, training, held_out })
    }

    fn plan(&self, round: Round) -> TrainPlan {
        let steps = u64::from(self.training.local_steps);
        TrainPlan {
            local_steps: self.training.local_steps as usize,
            batch_questions: self.training.batch_questions as usize,
            batch_captions: self.training.batch_captions as usize,
            schedule: Schedule {
                learning_rate: self.training.learning_rate,
                learning_rate_final: self.training.learning_rate_final,
                done: steps * round.0.saturating_sub(1),
                total: steps * self.training.rounds,
            },
            weight_decay: self.training.weight_decay,
            seed: self.seed.wrapping_mul(1_000_003).wrapping_add(round.0),
            threads: self.threads,
        }
    }

    fn turn(&self) -> Result<Option<Turn>, Failure> {
        self.turns
            .take(|| self.is_stopping())
            .map_err(|error| Failure::environment(format!("cannot take a turn: {error}")))
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }
}

/// Why a member without one usable example sits out.
pub fn nothing_to_train_on(unknown: Option<&WordError>) -> Failure {
    let because = unknown.map(|error| format!(": {error}")).unwrap_or_default();
    Failure::input(format!("no question with a one-word answer and no caption{because}"))
}
