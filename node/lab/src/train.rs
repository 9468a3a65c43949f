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

use witan_data::source::Extent;
use witan_home::{Failure, FailureKind};
use witan_model::device;
use witan_model::trainable::{self, BaseModel, EvaluationData};
use witan_node::interrupt::Interrupt;
use witan_node::jobs::FederatedModel;
use witan_node::jobs::core_slots::CoreSlots;
use witan_protocol::digest::Digest;

use crate::candidate::Candidate;
use crate::event::{Event, Listener, Observer};
use crate::folder::{Folder, Kind};
use crate::opened::Opened;
use crate::spec::{Spec, TrainSpec};
use crate::tables::Ceiling;
use crate::trainer::{Identity, Store, Trainer, TrainerConfig};
pub use report::TrainReport;

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
    let base = trainable::open(spec.spec.learning.model.as_deref())?;
    let targets = request.targets.clone().unwrap_or_else(|| folder.path("targets"));
    let outcome = train_in((&folder, &spec), base, targets, observer.clone());
    observer.say(Event::Over);
    outcome.map_err(|failure| match failure.kind {
        FailureKind::Interrupted => {
            Failure::new(failure.kind, "interrupted; what is trained is kept")
                .hint(format!("continue with: {}", folder.resume_command()))
        }
        _ => failure,
    })
}

fn train_in(
    (folder, spec): (&Folder, &TrainSpec),
    base: Arc<dyn BaseModel>,
    targets: PathBuf,
    observer: Observer,
) -> Result<TrainReport, Failure> {
    let Spec { cohort, learning, .. } = &spec.spec;
    let data = spec.spec.data(0);
    let pool = data.pool()?;
    let identity = Identity {
        spec,
        base: Digest(base.digest()?),
        tower: match pool.whole.captions[..] {
            [] => None,
            _ => base.tower_digest()?.map(Digest),
        },
        data: Digest::of_kind("witan training data", pool.listing().as_bytes()),
    };
    let (training, lora) = (spec.spec.training(), learning.lora.of(base.lora()));
    let model = FederatedModel::of(base, lora, &training, cohort.seed);
    let store = Store::new(folder, &model, &identity);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let config = TrainerConfig {
        model: model.clone(),
        training,
        seed: cohort.seed,
        threads: spec.threads,
        workers: if spec.is_local_only { cores } else { 1 },
        device: device::open(learning.device)?,
        slots: CoreSlots::open(None).map_err(Failure::environment)?,
        targets,
    };
    let trainer = Trainer::open(config, pool, observer)?;
    let evaluation = trainer.with_base(|loaded| {
        let set = data.evaluation_set(Extent::Sample)?;
        Ok(EvaluationData::read(&*model.base, loaded, set)?)
    })?;
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
    let report =
        TrainReport { spec: spec.clone(), base, ceiling: Ceiling::of(&evaluation), trained };
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
