//! Training, bytes in and bytes out: reads the committed adapter, trains on this member's data,
//! stores the delta as the federation writes deltas. The data and their cached features live on
//! this thread and nowhere else.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::sync::mpsc;
use witan_adapter::{Adapter, Committed, LoraConfig, delta};
use witan_data::evaluation::EvaluationSet;
use witan_data::metrics::Metrics;
use witan_data::source::MemberData;
use witan_files::Blobs;
use witan_home::aggregation::Aggregation;
use witan_home::settings::Settings;
use witan_home::{Failure, FailureKind};
use witan_model::device::{self, Device};
use witan_model::trainable::{
    self, Drawings, EvaluationData, Next, TrainTask, Trainable, TrainingData,
};
use witan_model::{Schedule, Step, TrainPlan};
use witan_protocol::digest::BlobRef;
use witan_protocol::federation::{Federation, Training};
use witan_protocol::io::{Input, JobId};
use witan_protocol::member::Round;
use witan_protocol::wire::Scores;

use super::core_slots::{CoreSlot, CoreSlots};
use super::error_feedback::ErrorFeedback;
use super::{Event, FederatedModel, Task, goes_on};

/// Owns what training needs.
pub struct Trainer {
    model: FederatedModel,
    training: Training,
    seed: u64,
    threads: usize,
    device: Device,
    data: MemberData,
    slots: CoreSlots,
    rank: usize,
    places: Places,
    stopping: Arc<AtomicBool>,
}

/// Where training reads and writes.
pub struct Places {
    /// Adapters and deltas.
    pub blobs: Blobs,
    /// What compression lost.
    pub feedback: ErrorFeedback,
    /// What drawings should become.
    pub targets: PathBuf,
}

/// The loaded model with this member's data.
struct Loaded {
    model: Box<dyn Trainable>,
    training: TrainingData,
    held_out: EvaluationData,
}

impl Trainer {
    /// Opens the device and the core slots and reads the data; trains nothing yet.
    ///
    /// # Errors
    /// If there is no such device, the data or the folder of slots cannot be read, or the member's
    /// rank is not allowed.
    pub fn new(
        model: FederatedModel,
        federation: &Federation,
        settings: &Settings,
        places: Places,
        stopping: Arc<AtomicBool>,
    ) -> Result<Self, Failure> {
        let device = device::open(settings.device)?;
        let slots = CoreSlots::open(settings.turns.as_deref()).map_err(|error| {
            let folder = settings.turns.as_deref().unwrap_or(Path::new("")).display();
            Failure::input(format!("cannot read the folder of turns {folder}: {error}"))
                .hint("a node that shares its machine with no other needs no `turns` in node.toml")
        })?;
        let rank = rank(&model, settings)?;
        let data = settings.data.member_data()?;
        // Before the first round: who has another tower than agreed must not start.
        if !data.training.captions.is_empty() {
            model.check_tower(federation)?;
        }
        Ok(Self {
            model,
            training: federation.document().training.clone(),
            seed: federation.document().seed,
            threads: settings.threads,
            device,
            data,
            slots,
            rank,
            places,
            stopping,
        })
    }

    /// Works until the queue closes.
    pub fn run(self, mut tasks: mpsc::Receiver<Task>, events: mpsc::Sender<Event>) {
        // Loaded when a core is first free.
        let mut loaded = None;
        while let Some(task) = tasks.blocking_recv() {
            let Task::Train { job, round, start } = task else {
                unreachable!("only training is queued here")
            };
            let input = match self.train(job, round, &start, &mut loaded, &events) {
                Ok(input) => input,
                Err(failure) if failure.kind == FailureKind::Interrupted => return,
                Err(failure) => Input::TrainFailed { job, reason: failure.message },
            };
            let event = Event::Done { round, input };
            if events.blocking_send(event).is_err() {
                return;
            }
        }
    }

    /// One round's training.
    fn train(
        &self,
        job: JobId,
        round: Round,
        start: &BlobRef,
        loaded: &mut Option<Loaded>,
        events: &mpsc::Sender<Event>,
    ) -> Result<Input, Failure> {
        let _slot = self.slot()?;
        let steps = u64::from(self.training.local_steps);
        let tell = |step, examples, loss| {
            let event = Event::Progress { job, round, step, steps, examples, loss };
            // A full queue only means that the driver is behind: the next step tells again.
            let _ = events.try_send(event);
        };
        tell(0, 0, 0.0);
        let Loaded { model, training, held_out } = match loaded {
            Some(loaded) => loaded,
            None => loaded.insert(self.load(events)?),
        };
        let whole = self.model.aggregation.committed(&self.places.blobs.read(start)?);
        let whole = whole.map_err(Failure::input)?;
        let own = whole.cut(self.rank);
        model.adopt(&own)?;
        let drawings = Drawings { seed: self.seed ^ round.0, images: 1, folder: None };
        let scored = trainable::evaluate(&**model, held_out, drawings, &mut |_| self.goes_on())?;
        let plan = self.plan(round);
        let task = TrainTask { start: &own.adapter, data: training, plan: &plan, paused: None };
        let mut examples = 0;
        let trained = model.train(&task, &mut |step: Step| {
            examples += step.examples;
            tell(step.step as u64, examples, step.loss());
            match self.goes_on() {
                ControlFlow::Continue(()) => Next::Step,
                ControlFlow::Break(()) => Next::Stop,
            }
        })?;
        let change = trained.adapter.delta(&own.adapter);
        Ok(Input::Trained {
            job,
            delta: self.publish(round, &whole, change)?,
            examples: trained.examples,
            steps: trained.steps,
            scores: scores(&scored.metrics(), trained.loss),
        })
    }

    /// Stores the delta as it will travel, with what earlier ones lost; keeps what this one loses.
    fn publish(
        &self,
        round: Round,
        start: &Committed,
        change: Adapter,
    ) -> Result<BlobRef, Failure> {
        let Aggregation { strategy, codec, .. } = &self.model.aggregation;
        let form = self.model.aggregation.form(round, &start.adapter);
        let feeds_back = codec.owes() && strategy.keeps_factors();
        let residual = feeds_back.then(|| self.places.feedback.before(round, &change)).flatten();
        let change = residual.map_or_else(|| change.clone(), |residual| change.plus(&residual));
        let bytes = form.encode(&change, self.rank);
        // As everyone will read it: what they would refuse is better told here.
        let arrived = form.decode(&bytes).map_err(Failure::input)?;
        if feeds_back {
            let kept = self.places.feedback.keep(round, &delta::lost(&change, &arrived));
            kept.map_err(|error| {
                Failure::environment(format!("cannot keep the error-feedback residual: {error}"))
            })?;
        }
        Ok(self.places.blobs.put(&bytes)?)
    }

    /// The model with this member's data.
    fn load(&self, events: &mpsc::Sender<Event>) -> Result<Loaded, Failure> {
        let LoraConfig { rank, alpha, .. } = self.model.lora;
        // The same scale in front of a lower rank.
        let alpha = alpha * self.rank as f64 / rank as f64;
        let lora = LoraConfig { rank: self.rank, alpha, ..self.model.lora.clone() };
        let MemberData { training, held_out } = &self.data;
        let mut count = |done: usize, pictures: usize| {
            if done == pictures || done.is_multiple_of(pictures.div_ceil(PREPARING_TOLD)) {
                let _ = events.try_send(Event::Preparing { done, pictures });
            }
            self.goes_on()
        };
        let base = &self.model.base;
        let targets = base.targets(training, &self.places.targets, &self.device, &mut count)?;
        let model = base.load(&lora, &self.device)?;
        let training = model.read(training, targets)?;
        training.require_any()?;
        if let Some(left_out) = &training.left_out {
            tracing::error!("left out: {left_out}");
        }
        let set = EvaluationSet::of_member(held_out);
        let held_out = EvaluationData::read(&**base, &*model, set)?;
        Ok(Loaded { model, training, held_out })
    }

    fn plan(&self, round: Round) -> TrainPlan {
        let steps = u64::from(self.training.local_steps);
        TrainPlan {
            local_steps: self.training.local_steps as usize,
            schedule: Schedule {
                learning_rate: self.training.learning_rate,
                learning_rate_final: self.training.learning_rate_final,
                done: steps * round.0.saturating_sub(1),
                total: steps * self.training.rounds,
            },
            seed: self.seed.wrapping_mul(1_000_003).wrapping_add(round.0),
            threads: self.threads,
            strategy: self.model.aggregation.strategy,
            round: round.0,
            ..plan_of(&self.training)
        }
    }

    fn slot(&self) -> Result<CoreSlot, Failure> {
        let slot = self.slots.acquire(|| self.goes_on().is_break());
        slot.map_err(|error| Failure::environment(format!("cannot wait for a core: {error}")))?
            .ok_or_else(|| Failure::new(FailureKind::Interrupted, "interrupted"))
    }

    fn goes_on(&self) -> ControlFlow<()> {
        goes_on(&self.stopping)
    }
}

/// What a federation agrees on of a training step; the rest is the caller's.
pub fn plan_of(training: &Training) -> TrainPlan {
    TrainPlan {
        batch_questions: training.batch_questions as usize,
        batch_captions: training.batch_captions as usize,
        accumulation: training.accumulation as usize,
        gradient_norm_max: training.gradient_norm_max.map(|norm| norm as f32),
        weight_decay: training.weight_decay,
        ..TrainPlan::default()
    }
}

/// Metrics as a member's update carries them, with the loss of its training.
fn scores(metrics: &Metrics, loss: f32) -> Scores {
    Scores {
        loss,
        vqa_accuracy: metrics.vqa_accuracy.map(|share| share as f32),
        drawing_accuracy: metrics.drawing_accuracy.map(|share| share as f32),
    }
}

/// How often it is told how far the targets of drawings are.
const PREPARING_TOLD: usize = 20;

/// The rank this member trains: the federation's, unless its settings and the strategy allow a
/// lower one.
fn rank(model: &FederatedModel, settings: &Settings) -> Result<usize, Failure> {
    let whole = model.lora.rank;
    match settings.rank {
        None => Ok(whole),
        Some(rank) if rank == whole => Ok(whole),
        Some(_) if !model.aggregation.strategy.mixes_ranks() => {
            Err(Failure::input("node.toml: rank: this federation's members all have one rank")
                .hint("leave it out, or agree on training.strategy = \"flexlora\""))
        }
        Some(rank) if (1..whole).contains(&rank) => Ok(rank),
        Some(rank) => Err(Failure::input(format!(
            "node.toml: rank: expected 1 to {whole}, the federation's, found {rank}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use witan_adapter::{Codec, Strategy};
    use witan_home::settings::{Compute, DataSource, Share};

    #[test]
    fn a_lower_rank_is_for_strategies_that_mix_ranks() {
        let base = trainable::open(None).unwrap();
        let lora = LoraConfig::default();
        let initial = Arc::new(base.initial_adapter(&lora, 1));
        let flexible = Aggregation { initial, strategy: Strategy::FlexLora, codec: Codec::Float32 };
        let rigid = Aggregation { strategy: Strategy::FedAvg, ..flexible.clone() };
        let flexible = FederatedModel { base, lora, aggregation: flexible };
        let rigid = FederatedModel { aggregation: rigid, ..flexible.clone() };
        let share = Share { index: 0, of: 1, alpha: None, by: None, seed: 1 };
        let data = DataSource::Scenes { seed: 1, share, count: None };
        let settings = |rank| Settings {
            listen: Vec::new(),
            data: data.clone(),
            threads: 1,
            device: Compute::Cpu,
            turns: None,
            model: None,
            rank,
        };
        assert_eq!(rank(&flexible, &settings(Some(2))).unwrap(), 2);
        assert_eq!(rank(&flexible, &settings(None)).unwrap(), 8);
        assert_eq!(rank(&rigid, &settings(Some(8))).unwrap(), 8);
        let refused = rank(&rigid, &settings(Some(2))).unwrap_err();
        assert!(refused.hint.unwrap().contains("flexlora"));
        for bad in [0, 9] {
            let refused = rank(&flexible, &settings(Some(bad))).unwrap_err();
            assert!(refused.message.contains(&format!("found {bad}")), "{}", refused.message);
        }
    }
}
