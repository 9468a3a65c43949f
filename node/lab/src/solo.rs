//! `witan train` without its flags: trains what a federation would without being one, keeps it, scores it.
//!
//! ```text
//! DIR/train.json      what was asked for; --resume reads it
//! DIR/targets/        what a checkpoint's drawings should become
//! DIR/NAME.state      a paused training; NAME is `central`, or `member-NN`
//! DIR/NAME/           a trained adapter, as Python's peft reads it
//! DIR/base.json       the scores of the base
//! DIR/NAME.json       its scores: written last, so that it says that NAME is done
//! DIR/report.json     all scores, and those of the base
//! ```

mod report;
mod shelf;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use serde::{Deserialize, Serialize};
use witan_home::{Failure, FailureKind, shell};
use witan_node::jobs::foundation::Foundation;
use witan_node::jobs::model::Model;
use witan_node::jobs::score::{Marks, by_task};
use witan_node::jobs::shard::{self, Extent};
use witan_node::jobs::turns::Turns;
use witan_node::jobs::unified::Unified;
use witan_node::jobs::{Ground, Umm, device, goes_on};

use crate::testnet::prepare::{self, Plan};
use crate::training::{Candidate, Solo, Step, Terms, Watching, interrupted};
pub use report::{SoloReport, SoloRow};
pub use shelf::ORDER;
use shelf::{Shelf, What, json, lock, write};

/// What to train; kept in the folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// The federation whose data, steps and batch are meant.
    pub plan: Plan,
    /// Each member's part alone instead of all data in one place.
    pub is_local_only: bool,
    /// Threads of one training.
    pub threads: usize,
}

/// What the command line asks for.
#[derive(Clone, Debug)]
pub struct Request {
    /// A new training, or `None` to continue the one in `dir`.
    pub order: Option<Order>,
    /// Its folder.
    pub dir: PathBuf,
    /// Where a checkpoint's targets are kept, if not there.
    pub targets: Option<PathBuf>,
}

/// What can be heard of a training, from several threads.
#[derive(Clone, Debug)]
pub enum Told {
    /// So many trainings of so many steps in all begin, so many steps of them are done.
    Begins {
        /// How many trainings.
        trainings: usize,
        /// Steps of all of them.
        steps: u64,
        /// Those done by an earlier run.
        done: u64,
    },
    /// Some of the data cannot be learnt, or nothing of a member's; in words.
    LeftOut(String),
    /// Targets of drawings are made first, of so many pictures.
    Preparing {
        /// Pictures done.
        done: usize,
        /// Pictures in all.
        pictures: usize,
    },
    /// Held-out questions are answered, so many of how many.
    Scoring {
        /// Questions done.
        done: usize,
        /// Questions in all.
        questions: usize,
    },
    /// A step was taken.
    Stepped {
        /// Of what.
        what: Candidate,
        /// The step.
        step: Step,
    },
    /// A candidate is trained and scored.
    Scored(Box<SoloRow>),
}

/// Trains to the end, or until `stopping`.
///
/// # Errors
/// Bad input, a folder that holds something else, an interruption.
pub fn run(
    request: &Request,
    stopping: &AtomicBool,
    tell: &(dyn Fn(Told) + Sync),
) -> Result<SoloReport, Failure> {
    let dir = &request.dir;
    let order = match &request.order {
        Some(order) => begin(dir, order, tell)?,
        None => shelf::open(dir)?,
    };
    let foundation = Foundation::open(order.plan.model.as_deref())?;
    let watch = Watch { stopping, tell };
    match foundation {
        Foundation::Embedded(_) => train::<Umm>(request, order, foundation, watch),
        Foundation::Blip3o(_) => train::<Unified>(request, order, foundation, watch),
    }
}

fn train<M: Model>(
    request: &Request,
    order: Order,
    foundation: Foundation,
    watch: Watch<'_>,
) -> Result<SoloReport, Failure> {
    let dir = &request.dir;
    let _lock = lock(dir)?;
    let data = order.plan.data(0);
    let pool = shard::pool(&data)?;
    let tower = match pool.whole.captions[..] {
        [] => None,
        _ => foundation.tower()?,
    };
    let what = What {
        order: &order,
        base: foundation.digest()?,
        tower: tower.as_ref().map(|tower| tower.digest),
        data: pool.digest(),
    };
    let what = what.digest();
    let device = device::open(order.plan.device)?;
    let (training, lora) = (order.plan.training(), order.plan.lora.of(foundation.lora()));
    let ground = Ground::of(foundation, lora, &training, order.plan.seed);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let terms = Terms {
        ground: ground.clone(),
        training,
        seed: order.plan.seed,
        threads: order.threads,
        workers: if order.is_local_only { cores } else { 1 },
        device,
        turns: Turns::open(None).map_err(Failure::environment)?,
        tower,
        targets: request.targets.clone().unwrap_or_else(|| dir.join("targets")),
    };
    let solo = Solo::<M>::open(terms, pool, &watch).map_err(|it| resumable(it, dir))?;
    let exam = solo.with_base(|model| model.examine(shard::exam(&data, Extent::Sample)?))?;
    let rows = Mutex::default();
    let desk = Shelf::<M> { dir, ground: &ground, exam: &exam, order: &order, what, watch, rows };
    let base = desk.base(&solo).map_err(|it| resumable(it, dir))?;
    desk.train_all(&solo).map_err(|it| resumable(it, dir))?;
    let mut rows = desk.rows.into_inner().expect("no worker has panicked");
    rows.sort_by_key(|row| row.member);
    let ceiling = M::ceiling(&exam);
    let ceiling = (ceiling.all.overall(), by_task(&ceiling));
    let report = SoloReport::new(&order, base, ceiling, rows);
    write(&dir.join("report.json"), &json(&report))?;
    Ok(report)
}

/// Who hears of the work, and may stop it.
#[derive(Clone, Copy)]
struct Watch<'a> {
    stopping: &'a AtomicBool,
    tell: &'a (dyn Fn(Told) + Sync),
}

impl Watch<'_> {
    fn marks<M: Model>(&self, model: &M, exam: &M::Exam, seed: u64) -> Result<Marks, Failure> {
        let mut told = |done, questions| {
            (self.tell)(Told::Scoring { done, questions });
            goes_on(self.stopping)
        };
        model.marks(exam, seed, &mut told)?.ok_or_else(interrupted)
    }
}

impl Watching for Watch<'_> {
    fn goes_on(&self) -> ControlFlow<()> {
        goes_on(self.stopping)
    }

    fn on_preparing(&self, done: usize, pictures: usize) {
        (self.tell)(Told::Preparing { done, pictures });
    }
}

/// An interruption, with the way on.
fn resumable(failure: Failure, dir: &Path) -> Failure {
    match failure.kind {
        FailureKind::Interrupted => {
            Failure::new(failure.kind, "interrupted; what is trained is kept")
                .hint(format!("continue with: {}", resume_command(dir)))
        }
        _ => failure,
    }
}

/// The command that continues the training in `dir`.
pub fn resume_command(dir: &Path) -> String {
    format!("{} train --resume --dir {}", shell::witan(), shell::word(dir))
}

fn begin(dir: &Path, order: &Order, tell: &(dyn Fn(Told) + Sync)) -> Result<Order, Failure> {
    if dir.join(ORDER).exists() {
        return Err(Failure::input(format!("{} holds a training already", dir.display()))
            .hint("continue it with --resume, or choose another folder with --dir"));
    }
    let is_empty = std::fs::read_dir(dir).map_or(true, |mut entries| entries.next().is_none());
    if !is_empty {
        return Err(Failure::input(format!(
            "{} is not empty and holds no training",
            dir.display()
        ))
        .hint("choose another folder with --dir"));
    }
    let foundation = Foundation::open(order.plan.model.as_deref())?;
    foundation.has_layers(&order.plan.lora.of(foundation.lora()))?;
    shard::check(&order.plan.data(0), foundation.words().as_ref())?;
    if let Some(left_out) = prepare::left_out(&order.plan, &foundation)? {
        tell(Told::LeftOut(left_out));
    }
    std::fs::create_dir_all(dir)
        .map_err(|error| Failure::environment(format!("cannot make {}: {error}", dir.display())))?;
    write(&dir.join(ORDER), &json(order))?;
    Ok(order.clone())
}
