//! `witan train` without its flags: trains what a federation would without being one, keeps it, scores it.
//!
//! ```text
//! DIR/train.json      what was asked for; --resume reads it
//! DIR/targets/       what a checkpoint's drawings should become
//! DIR/NAME.state      a paused training; NAME is `central`, or `member-NN`
//! DIR/NAME/           a trained adapter, as Python's peft reads it
//! DIR/NAME.json       its scores: written last, so that it says that NAME is done
//! DIR/report.json     all scores, and those of the base
//! ```

mod report;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use serde::{Deserialize, Serialize};
use witan_protocol::digest::Digest;

use crate::error::{Failure, FailureKind};
use crate::jobs::foundation::Foundation;
use crate::jobs::model::Model;
use crate::jobs::score::{Marks, by_task};
use crate::jobs::shard::{self, Extent};
use crate::jobs::solo::{Candidate, Desk, Paused, Solo, Step, Terms, Trained, interrupted, kept};
use crate::jobs::turns::Turns;
use crate::jobs::unified::Unified;
use crate::jobs::{Ground, Umm, chosen, device, goes_on};
use crate::settings::DataSource;
use crate::shell;
use crate::testnet::prepare::{self, Plan};
pub use report::{SoloReport, SoloRow};

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
    /// Some of the data cannot be learnt, and why.
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
        None => open(dir)?,
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
    let data = order.plan.data(0);
    let base_digest = foundation.digest()?;
    let device = device::open(order.plan.device)?;
    let (training, lora) = (order.plan.training(), order.plan.lora.of(foundation.lora()));
    let ground = Ground::of(foundation, lora, &training, order.plan.seed);
    let model = M::load(&ground.foundation, &ground.lora, &device)?;
    let exam = model.examine(shard::exam(&data, Extent::Sample)?)?;
    let base = watch.marks(&model, &exam, order.plan.seed).map_err(|it| resumable(it, dir))?;
    // Before others of its size are loaded.
    drop(model);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let terms = Terms {
        ground: ground.clone(),
        training,
        seed: order.plan.seed,
        threads: order.threads,
        workers: if order.is_local_only { cores } else { 1 },
        device,
        turns: Turns::open(None).map_err(Failure::environment)?,
        targets: request.targets.clone().unwrap_or_else(|| dir.join("targets")),
    };
    let desk = Shelf::<M> {
        dir,
        ground: &ground,
        exam: &exam,
        order: &order,
        base: base_digest,
        watch,
        rows: Mutex::default(),
    };
    desk.train_all(terms, &data).map_err(|failure| resumable(failure, dir))?;
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

/// The folder's files, as the trainings need them.
struct Shelf<'a, M: Model> {
    dir: &'a Path,
    ground: &'a Ground,
    exam: &'a M::Exam,
    order: &'a Order,
    base: Digest,
    watch: Watch<'a>,
    rows: Mutex<Vec<SoloRow>>,
}

impl<M: Model> Shelf<'_, M> {
    fn train_all(&self, terms: Terms, data: &DataSource) -> Result<(), Failure> {
        let solo = Solo::open(terms, data, self)?;
        let wanted = match self.order.is_local_only {
            true => solo.members(),
            false => vec![Candidate::Centralized],
        };
        solo.train_all(&self.open(&solo, &wanted)?, self)
    }

    /// The candidates that are not done; takes in the scores of those that are.
    fn open(&self, solo: &Solo<M>, wanted: &[Candidate]) -> Result<Vec<Candidate>, Failure> {
        let (mut open, mut steps, mut done) = (Vec::new(), 0, 0);
        for &candidate in wanted {
            steps += solo.steps(candidate);
            let path = self.path(candidate, "json");
            match std::fs::read(&path) {
                Ok(bytes) => {
                    let row = serde_json::from_slice(&bytes).map_err(|error| {
                        Failure::input(format!("{} cannot be read: {error}", path.display()))
                            .hint("remove it, and this training is made again with --resume")
                    })?;
                    self.push(row);
                    done += solo.steps(candidate);
                }
                Err(_) => {
                    done += self.earlier(candidate)?.map_or(0, |paused| paused.done as u64);
                    open.push(candidate);
                }
            }
        }
        (self.watch.tell)(Told::Begins { trainings: wanted.len(), steps, done });
        Ok(open)
    }

    /// What a paused training must be a part of.
    fn terms(&self, candidate: Candidate) -> Digest {
        let order = serde_json::to_vec(self.order).expect("an order is plain JSON");
        let of = [&order[..], &self.base.0, name(candidate).as_bytes()].concat();
        Digest::of_kind("witan training's terms", &of)
    }

    fn path(&self, candidate: Candidate, ending: &str) -> PathBuf {
        self.dir.join(format!("{}.{ending}", name(candidate)))
    }

    fn push(&self, row: SoloRow) {
        self.rows.lock().expect("no worker has panicked").push(row);
    }
}

impl<M: Model> Desk<M> for Shelf<'_, M> {
    fn goes_on(&self) -> ControlFlow<()> {
        goes_on(self.watch.stopping)
    }

    fn on_preparing(&self, done: usize, pictures: usize) {
        (self.watch.tell)(Told::Preparing { done, pictures });
    }

    fn on_step(&self, what: Candidate, step: Step) {
        (self.watch.tell)(Told::Stepped { what, step });
    }

    fn earlier(&self, candidate: Candidate) -> Result<Option<Paused>, Failure> {
        kept::read(&self.path(candidate, "state"), self.terms(candidate), &self.ground.initial)
    }

    fn keep(&self, candidate: Candidate, paused: &Paused) -> Result<(), Failure> {
        write(&self.path(candidate, "state"), &kept::to_bytes(paused, self.terms(candidate)))
    }

    fn on_trained(
        &self,
        candidate: Candidate,
        model: &M,
        trained: &Trained,
    ) -> Result<(), Failure> {
        let folder = self.dir.join(name(candidate));
        chosen::export(&folder, &trained.adapter, &self.ground.lora)?;
        let row = SoloRow {
            name: name(candidate),
            member: match candidate {
                Candidate::Centralized => None,
                Candidate::Alone(index) => Some(index),
            },
            steps: trained.steps,
            examples: trained.examples,
            loss: trained.loss,
            scores: self.watch.marks(model, self.exam, self.order.plan.seed)?,
        };
        write(&self.path(candidate, "json"), &json(&row))?;
        let _ = std::fs::remove_file(self.path(candidate, "state"));
        (self.watch.tell)(Told::Scored(Box::new(row.clone())));
        self.push(row);
        Ok(())
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

fn name(candidate: Candidate) -> String {
    match candidate {
        Candidate::Centralized => "central".to_owned(),
        Candidate::Alone(index) => format!("member-{index:02}"),
    }
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

fn open(dir: &Path) -> Result<Order, Failure> {
    let path = dir.join(ORDER);
    let not_ours = |error: &dyn std::fmt::Display| {
        Failure::input(format!("cannot read {}: {error}", path.display()))
            .hint("only a folder that `witan train` made can be resumed; name it with --dir")
    };
    let bytes = std::fs::read(&path).map_err(|error| not_ours(&error))?;
    serde_json::from_slice(&bytes).map_err(|error| not_ours(&error))
}

fn json(value: &impl Serialize) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(value).expect("reports are plain JSON");
    text.push(b'\n');
    text
}

/// Writes a file as a whole or not at all.
fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let new = path.with_extension("new");
    let written = std::fs::write(&new, bytes).and_then(|()| std::fs::rename(&new, path));
    written.map_err(|error| {
        Failure::environment(format!("cannot write {}: {error}", path.display()))
            .hint("free space on its disk; --resume goes on from what was kept")
    })
}

/// What says that a folder is a training's.
pub const ORDER: &str = "train.json";
