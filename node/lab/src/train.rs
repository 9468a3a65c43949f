//! Trainings without a federation: what one would train on, all in one place or each member's part
//! alone, kept and evaluated.
//!
//! ```text
//! DIR/train.json      what was asked for; --resume reads it
//! DIR/targets/        what a checkpoint's drawings should become
//! DIR/NAME.state      a paused training; NAME is `central`, or `member-NN`
//! DIR/NAME/           a trained adapter, as Python's peft reads it
//! DIR/base.json       the metrics of the base
//! DIR/NAME.json       its metrics: written last, so that it says that NAME is done
//! DIR/report.json     all metrics, and those of the base
//! ```

mod report;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde::{Deserialize, Serialize};
use witan_home::{Failure, FailureKind};
use witan_node::interrupt::Interrupt;
use witan_node::jobs::foundation::Foundation;
use witan_node::jobs::model::Model;
use witan_node::jobs::score::by_task;
use witan_node::jobs::shard::{self, Extent};
use witan_node::jobs::turns::Turns;
use witan_node::jobs::unified::Unified;
use witan_node::jobs::{Ground, Umm, device};

use crate::event::{Event, Listener, Observer};
use crate::folder::{Folder, Kind};
use crate::opened::Opened;
use crate::spec::{Spec, expect};
use crate::trainer::{Candidate, Identity, Store, Trainer, TrainerConfig};
pub use report::{TrainReport, TrainedRow};

/// What to train; kept in the folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainSpec {
    /// The federation whose data, steps and batch are meant.
    #[serde(rename = "plan")]
    pub spec: Spec,
    /// Each member's part alone instead of all data in one place.
    pub is_local_only: bool,
    /// Threads of one training.
    pub threads: usize,
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// New trainings, or `None` to continue those in `dir`.
    pub spec: Option<TrainSpec>,
    /// Their folder.
    pub dir: PathBuf,
    /// Where a checkpoint's targets are kept, if not there.
    pub targets: Option<PathBuf>,
}

/// Trains to the end, or until it is interrupted.
///
/// # Errors
/// Bad input, a folder that holds something else, an interruption.
pub async fn run(
    request: Request,
    listener: Listener,
    interrupt: &mut Interrupt,
) -> Result<TrainReport, Failure> {
    let observer = Observer::new(listener);
    let flag = Arc::clone(&observer.stopping);
    let mut work = tokio::task::spawn_blocking(move || train(&request, observer));
    tokio::select! {
        outcome = &mut work => return outcome.map_err(Failure::environment)?,
        () = interrupt.told() => flag.store(true, Ordering::Relaxed),
    }
    work.await.map_err(Failure::environment)?
}

fn train(request: &Request, observer: Observer) -> Result<TrainReport, Failure> {
    let (folder, spec) = match &request.spec {
        Some(spec) => (begin(request, spec, &observer)?, spec.clone()),
        None => Folder::open(&request.dir, Kind::Train)?,
    };
    let foundation = Foundation::open(spec.spec.learning.model.as_deref())?;
    let targets = request.targets.clone().unwrap_or_else(|| folder.path("targets"));
    let outcome = match foundation {
        Foundation::Embedded(_) => {
            train_of::<Umm>((&folder, &spec), foundation, targets, observer.clone())
        }
        Foundation::Blip3o(_) => {
            train_of::<Unified>((&folder, &spec), foundation, targets, observer.clone())
        }
    };
    observer.say(Event::Over);
    outcome.map_err(|failure| match failure.kind {
        FailureKind::Interrupted => {
            Failure::new(failure.kind, "interrupted; what is trained is kept")
                .hint(format!("continue with: {}", folder.resume_command()))
        }
        _ => failure,
    })
}

fn train_of<M: Model>(
    (folder, spec): (&Folder, &TrainSpec),
    foundation: Foundation,
    targets: PathBuf,
    observer: Observer,
) -> Result<TrainReport, Failure> {
    let Spec { cohort, learning, .. } = &spec.spec;
    let data = spec.spec.data(0);
    let pool = shard::pool(&data)?;
    let tower = match pool.whole.captions[..] {
        [] => None,
        _ => foundation.tower()?,
    };
    let identity = Identity {
        spec,
        base: foundation.digest()?,
        tower: tower.as_ref().map(|tower| tower.digest),
        data: pool.digest(),
    };
    let (training, lora) = (spec.spec.training(), learning.lora.of(foundation.lora()));
    let ground = Ground::of(foundation, lora, &training, cohort.seed);
    let store = Store::new(folder, &ground, &identity);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let config = TrainerConfig {
        ground: ground.clone(),
        training,
        seed: cohort.seed,
        threads: spec.threads,
        workers: if spec.is_local_only { cores } else { 1 },
        device: device::open(learning.device)?,
        turns: Turns::open(None).map_err(Failure::environment)?,
        tower,
        targets,
    };
    let trainer = Trainer::<M>::open(config, pool, observer)?;
    let evaluation =
        trainer.with_base(|model| model.examine(shard::exam(&data, Extent::Sample)?))?;
    let base = match store.read("base")? {
        Some(known) => known,
        None => {
            let base = trainer.with_base(|model| trainer.evaluate(model, &evaluation))?;
            store.write("base", &base)?;
            base
        }
    };
    let candidates = match spec.is_local_only {
        true => trainer.members(),
        false => vec![Candidate::Centralized],
    };
    let trained = trainer.train_all(&candidates, &evaluation, Some(&store))?;
    let ceiling = M::ceiling(&evaluation);
    let report = TrainReport {
        order: spec.clone(),
        base,
        drawing_ceiling: ceiling.all.overall(),
        drawing_ceiling_by_task: by_task(&ceiling),
        trained,
    };
    folder.write_json("report.json", &report)?;
    Ok(report)
}

fn begin(request: &Request, spec: &TrainSpec, observer: &Observer) -> Result<Folder, Failure> {
    Kind::Train.fits(&request.dir)?;
    if let Some(left_out) = Opened::of(&spec.spec)?.left_out {
        observer.say(Event::Said(left_out));
    }
    Folder::new(&request.dir, Kind::Train)?.claim(spec)
}

impl TrainSpec {
    /// The same with absolute paths and every default filled in.
    ///
    /// # Errors
    /// The first setting that is out of range.
    pub fn checked(self) -> Result<Self, Failure> {
        let hint = "1 is the default, and what a testnet's comparison takes";
        let is_right = (1..=256).contains(&self.threads);
        expect(is_right, ("threads", self.threads), "1 to 256", hint)?;
        Ok(Self { spec: self.spec.checked()?, ..self })
    }
}
