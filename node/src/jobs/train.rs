//! Training, bytes in and bytes out: reads the committed adapter, trains on this member's data, stores
//! the delta as the federation writes deltas. The data and their cached features live on this thread and nowhere else.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc;
use witan_files::Blobs;
use witan_home::Failure;
use witan_home::settings::Settings;
use witan_model::{Adapter, Committed, LoraConfig, Schedule, TrainPlan, delta};
use witan_protocol::digest::BlobRef;
use witan_protocol::federation::{Federation, Training};
use witan_protocol::io::JobId;
use witan_protocol::member::Round;

use super::device::{self, Device};
use super::learner::{self, Learner};
use super::owed::Owed;
use super::shard::{self, Shard};
use super::tower::Tower;
use super::turns::{Turn, Turns};
use super::{Event, Ground, Task, goes_on};

/// Owns what training needs.
pub struct Trainer {
    ground: Ground,
    training: Training,
    seed: u64,
    threads: usize,
    device: Device,
    shard: Shard,
    tower: Option<Tower>,
    turns: Turns,
    rank: usize,
    shelves: Shelves,
    stopping: Arc<AtomicBool>,
}

/// Where training reads and writes.
pub struct Shelves {
    /// Adapters and deltas.
    pub blobs: Blobs,
    /// What compression lost.
    pub owed: Owed,
    /// What drawings should become.
    pub targets: PathBuf,
}

impl Trainer {
    /// Opens the device and the turns and reads the data; trains nothing yet.
    ///
    /// # Errors
    /// If there is no such device, the data or the folder of turns cannot be read, or the member's rank is
    /// not allowed.
    pub fn new(
        ground: Ground,
        federation: &Federation,
        settings: &Settings,
        shelves: Shelves,
        stopping: Arc<AtomicBool>,
    ) -> Result<Self, Failure> {
        let device = device::open(settings.device)?;
        let turns = Turns::open(settings.turns.as_deref()).map_err(|error| {
            let folder = settings.turns.as_deref().unwrap_or(Path::new("")).display();
            Failure::input(format!("cannot read the folder of turns {folder}: {error}"))
                .hint("a node that shares its machine with no other needs no `turns` in node.toml")
        })?;
        let rank = rank(&ground, settings)?;
        let shard = shard::read(&settings.data)?;
        // Before the first round: who has another tower than agreed must not start.
        let tower = match shard.training.captions[..] {
            [] => None,
            _ => ground.foundation.agreed_tower(federation)?,
        };
        Ok(Self {
            ground,
            training: federation.document().training.clone(),
            seed: federation.document().seed,
            threads: settings.threads,
            device,
            shard,
            tower,
            turns,
            rank,
            shelves,
            stopping,
        })
    }

    /// Works until the queue closes.
    pub fn run(self, mut tasks: mpsc::Receiver<Task>, events: mpsc::Sender<Event>) {
        // Loaded on the first turn.
        let mut learner = None;
        while let Some(task) = tasks.blocking_recv() {
            let Task::Train { job, round, start } = task else {
                unreachable!("only training is queued here")
            };
            let event = match self.train(job, round, &start, &mut learner, &events) {
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
        learner: &mut Option<Box<dyn Learner>>,
        events: &mpsc::Sender<Event>,
    ) -> Result<Option<Event>, Failure> {
        let Some(_turn) = self.turn()? else { return Ok(None) };
        let steps = u64::from(self.training.local_steps);
        let tell = |step, examples, loss| {
            let event = Event::Progress { job, round, step, steps, examples, loss };
            // A full queue only means that the driver is behind: the next step tells again.
            let _ = events.try_send(event);
        };
        tell(0, 0, 0.0);
        let learner = match learner {
            Some(learner) => learner,
            None => match self.learner(events)? {
                Some(ready) => learner.insert(ready),
                None => return Ok(None),
            },
        };
        let whole = self.ground.committed(&self.shelves.blobs.read(start)?);
        let whole = whole.map_err(Failure::input)?;
        let own = whole.cut(self.rank);
        learner.adopt(&own)?;
        let scored = learner.marks(self.seed ^ round.0, &mut |_, _| self.goes_on())?;
        let Some(marks) = scored else { return Ok(None) };
        let mut examples = 0;
        let trained = learner.train(&own.adapter, &self.plan(round), &mut |step| {
            let loss = step.answer_loss.unwrap_or(0.0) + step.flow_loss.unwrap_or(0.0);
            examples += step.examples;
            tell(step.step as u64, examples, loss);
            self.goes_on()
        })?;
        let Some(trained) = trained else { return Ok(None) };
        let change = trained.adapter.delta(&own.adapter);
        Ok(Some(Event::Trained {
            job,
            round,
            delta: self.publish(round, &whole, change)?,
            examples: trained.examples,
            steps: trained.steps,
            scores: marks.scores(trained.loss),
        }))
    }

    /// Stores the delta as it will travel, with what earlier ones lost; keeps what this one loses.
    fn publish(
        &self,
        round: Round,
        start: &Committed,
        change: Adapter,
    ) -> Result<BlobRef, Failure> {
        let recipe = self.ground.recipe;
        let form = recipe.form(round, &start.adapter);
        let owes = recipe.codec.owes() && recipe.strategy.keeps_factors();
        let owed = owes.then(|| self.shelves.owed.before(round, &change)).flatten();
        let change = owed.map_or_else(|| change.clone(), |owed| change.plus(&owed));
        let bytes = form.encode(&change, self.rank);
        // As everyone will read it: what they would refuse is better told here.
        let arrived = form.decode(&bytes).map_err(Failure::input)?;
        if owes {
            let kept = self.shelves.owed.keep(round, &delta::lost(&change, &arrived));
            kept.map_err(|error| {
                Failure::environment(format!("cannot keep what is owed: {error}"))
            })?;
        }
        Ok(self.shelves.blobs.put(&bytes)?)
    }

    /// The model with this member's data; none if the node is stopping.
    fn learner(&self, events: &mpsc::Sender<Event>) -> Result<Option<Box<dyn Learner>>, Failure> {
        let LoraConfig { rank, alpha, .. } = self.ground.lora;
        // The same scale in front of a lower rank.
        let alpha = alpha * self.rank as f64 / rank as f64;
        let lora = LoraConfig { rank: self.rank, alpha, ..self.ground.lora.clone() };
        let data = &self.shard.training;
        let mut told = |done: usize, pictures: usize| {
            if done == pictures || done.is_multiple_of(pictures.div_ceil(PREPARING_TOLD)) {
                let _ = events.try_send(Event::Preparing { done, pictures });
            }
            self.goes_on()
        };
        let targets = match &self.tower {
            None => None,
            Some(tower) => {
                match tower.targets(data, &self.shelves.targets, &self.device, &mut told)? {
                    None => return Ok(None),
                    made => made,
                }
            }
        };
        let data = (&self.shard, targets);
        learner::open(&self.ground.foundation, &lora, data, &self.device).map(Some)
    }

    fn plan(&self, round: Round) -> TrainPlan {
        let steps = u64::from(self.training.local_steps);
        TrainPlan {
            local_steps: self.training.local_steps as usize,
            batch_questions: self.training.batch_questions as usize,
            batch_captions: self.training.batch_captions as usize,
            accumulation: self.training.accumulation as usize,
            gradient_norm_max: self.training.gradient_norm_max.map(|norm| norm as f32),
            schedule: Schedule {
                learning_rate: self.training.learning_rate,
                learning_rate_final: self.training.learning_rate_final,
                done: steps * round.0.saturating_sub(1),
                total: steps * self.training.rounds,
            },
            weight_decay: self.training.weight_decay,
            seed: self.seed.wrapping_mul(1_000_003).wrapping_add(round.0),
            threads: self.threads,
            strategy: self.ground.recipe.strategy,
            round: round.0,
        }
    }

    fn turn(&self) -> Result<Option<Turn>, Failure> {
        self.turns
            .take(|| self.is_stopping())
            .map_err(|error| Failure::environment(format!("cannot take a turn: {error}")))
    }

    fn goes_on(&self) -> ControlFlow<()> {
        goes_on(&self.stopping)
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }
}

/// How often it is told how far the targets of drawings are.
const PREPARING_TOLD: usize = 20;

/// The rank this member trains: the federation's, unless its settings and the strategy allow a lower one.
fn rank(ground: &Ground, settings: &Settings) -> Result<usize, Failure> {
    let whole = ground.lora.rank;
    match settings.rank {
        None => Ok(whole),
        Some(rank) if rank == whole => Ok(whole),
        Some(_) if !ground.recipe.strategy.mixes_ranks() => {
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
    use crate::jobs::foundation::Foundation;
    use crate::jobs::recipe::Recipe;
    use witan_home::settings::{DataSource, Share};
    use witan_model::{Codec, Strategy};

    #[test]
    fn a_lower_rank_is_for_strategies_that_mix_ranks() {
        let foundation = Foundation::open(None).unwrap();
        let lora = LoraConfig::default();
        let initial = Arc::new(foundation.initial(&lora, 1));
        let recipe = Recipe { strategy: Strategy::FlexLora, codec: Codec::Float32 };
        let flexible = Ground { foundation, lora, initial, recipe };
        let recipe = Recipe { strategy: Strategy::FedAvg, ..recipe };
        let rigid = Ground { recipe, ..flexible.clone() };
        let share = Share { index: 0, of: 1, alpha: None, by: None, seed: 1 };
        let data = DataSource::Scenes { seed: 1, share, count: None };
        let settings = |rank| Settings {
            listen: Vec::new(),
            data: data.clone(),
            threads: 1,
            device: device::Compute::Cpu,
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
