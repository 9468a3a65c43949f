//! The folder of a training: what lies in it, whether it belongs to it, and how it is written.

use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use witan_home::Failure;
use witan_node::jobs::model::Model;
use witan_node::jobs::score::Marks;
use witan_node::jobs::{Ground, chosen};
use witan_protocol::digest::Digest;

use super::{Order, SoloRow, Told, Watch};
use crate::training::{Candidate, Desk, Paused, Solo, Step, Trained, Watching, kept};

/// Held as long as the folder is worked in.
pub(super) fn lock(dir: &Path) -> Result<File, Failure> {
    let path = dir.join(ORDER);
    let cannot = |error: &dyn std::fmt::Display| {
        Failure::environment(format!("cannot lock {}: {error}", path.display()))
    };
    let file = File::open(&path).map_err(|error| cannot(&error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let message = format!("another `witan train` works in {}", dir.display());
            Err(Failure::input(message).hint("wait for it, or choose another folder with --dir"))
        }
        Err(TryLockError::Error(error)) => Err(cannot(&error)),
    }
}

/// What everything in the folder must be a part of.
pub(super) struct What<'a> {
    pub(super) order: &'a Order,
    pub(super) base: Digest,
    pub(super) tower: Option<Digest>,
    pub(super) data: Digest,
}

impl What<'_> {
    pub(super) fn digest(&self) -> Digest {
        let order = serde_json::to_vec(self.order).expect("an order is plain JSON");
        let tower = self.tower.map_or([0; 32], |tower| tower.0);
        let of = [&order[..], &self.base.0, &tower, &self.data.0].concat();
        Digest::of_kind("witan training", &of)
    }
}

/// What lies in the folder of a training, with what that is.
#[derive(Serialize, Deserialize)]
struct Kept<T> {
    /// See [`What`], in hexadecimal.
    training: String,
    #[serde(flatten)]
    kept: T,
}

/// The folder's files, as the trainings need them.
pub(super) struct Shelf<'a, M: Model> {
    pub(super) dir: &'a Path,
    pub(super) ground: &'a Ground,
    pub(super) exam: &'a M::Exam,
    pub(super) order: &'a Order,
    pub(super) what: Digest,
    pub(super) watch: Watch<'a>,
    pub(super) rows: Mutex<Vec<SoloRow>>,
}

impl<M: Model> Shelf<'_, M> {
    /// The scores of the base, from an earlier run if there was one.
    pub(super) fn base(&self, solo: &Solo<M>) -> Result<Marks, Failure> {
        if let Some(kept) = self.read("base")? {
            return Ok(kept);
        }
        let seed = self.order.plan.seed;
        let marks = solo.with_base(|model| self.watch.marks(model, self.exam, seed))?;
        self.keep_as("base", &marks)?;
        Ok(marks)
    }

    pub(super) fn train_all(&self, solo: &Solo<M>) -> Result<(), Failure> {
        let wanted = match self.order.is_local_only {
            true => solo.members(),
            false => vec![Candidate::Centralized],
        };
        solo.train_all(&self.open(solo, &wanted)?, self)
    }

    fn keep_as<T: Serialize>(&self, name: &str, what: &T) -> Result<(), Failure> {
        let kept = Kept { training: self.what.to_string(), kept: what };
        write(&self.dir.join(format!("{name}.json")), &json(&kept))
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Failure> {
        let path = self.dir.join(format!("{name}.json"));
        let bad = |how: &str| {
            Failure::input(format!("{} {how}", path.display()))
                .hint("remove it, and it is made again with --resume")
        };
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(bad(&format!("cannot be read: {error}"))),
        };
        let kept: Kept<T> = serde_json::from_slice(&bytes)
            .map_err(|error| bad(&format!("cannot be read: {error}")))?;
        match kept.training == self.what.to_string() {
            true => Ok(Some(kept.kept)),
            false => Err(bad("is of another training: other data, settings, base or tower")),
        }
    }

    /// The candidates that are not done; takes in the scores of those that are.
    fn open(&self, solo: &Solo<M>, wanted: &[Candidate]) -> Result<Vec<Candidate>, Failure> {
        let (mut open, mut steps, mut done) = (Vec::new(), 0, 0);
        for &candidate in wanted {
            steps += solo.steps(candidate);
            match self.read(&name(candidate))? {
                Some(row) => {
                    self.push(row);
                    done += solo.steps(candidate);
                }
                None => {
                    done += self.earlier(candidate)?.map_or(0, |paused| paused.done as u64);
                    open.push(candidate);
                }
            }
        }
        (self.watch.tell)(Told::Begins { trainings: open.len(), steps, done });
        Ok(open)
    }

    fn state(&self, candidate: Candidate) -> PathBuf {
        self.dir.join(format!("{}.state", name(candidate)))
    }

    /// What a paused training must be.
    fn terms(&self, candidate: Candidate) -> Digest {
        let of = [&self.what.0[..], name(candidate).as_bytes()].concat();
        Digest::of_kind("witan training's terms", &of)
    }

    fn push(&self, row: SoloRow) {
        self.rows.lock().expect("no worker has panicked").push(row);
    }
}

impl<M: Model> Watching for Shelf<'_, M> {
    fn goes_on(&self) -> ControlFlow<()> {
        self.watch.goes_on()
    }

    fn on_preparing(&self, done: usize, pictures: usize) {
        self.watch.on_preparing(done, pictures);
    }
}

impl<M: Model> Desk<M> for Shelf<'_, M> {
    fn on_idle(&self, candidate: Candidate) {
        let what = format!("{candidate}: nothing that these steps can teach");
        (self.watch.tell)(Told::LeftOut(what));
    }

    fn on_step(&self, what: Candidate, step: Step) {
        (self.watch.tell)(Told::Stepped { what, step });
    }

    fn earlier(&self, candidate: Candidate) -> Result<Option<Paused>, Failure> {
        kept::read(&self.state(candidate), self.terms(candidate), &self.ground.initial)
    }

    fn keep(&self, candidate: Candidate, paused: &Paused) -> Result<(), Failure> {
        write(&self.state(candidate), &kept::to_bytes(paused, self.terms(candidate)))
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
            member: candidate.member(),
            steps: trained.steps,
            examples: trained.examples,
            loss: trained.loss,
            scores: self.watch.marks(model, self.exam, self.order.plan.seed)?,
        };
        self.keep_as(&name(candidate), &row)?;
        let _ = std::fs::remove_file(self.state(candidate));
        (self.watch.tell)(Told::Scored(Box::new(row.clone())));
        self.push(row);
        Ok(())
    }
}

fn name(candidate: Candidate) -> String {
    match candidate {
        Candidate::Centralized => "central".to_owned(),
        Candidate::Alone(index) => format!("member-{index:02}"),
    }
}

pub(super) fn open(dir: &Path) -> Result<Order, Failure> {
    let path = dir.join(ORDER);
    let not_ours = |error: &dyn std::fmt::Display| {
        Failure::input(format!("cannot read {}: {error}", path.display()))
            .hint("only a folder that `witan train` made can be resumed; name it with --dir")
    };
    let bytes = std::fs::read(&path).map_err(|error| not_ours(&error))?;
    serde_json::from_slice(&bytes).map_err(|error| not_ours(&error))
}

pub(super) fn json(value: &impl Serialize) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(value).expect("reports are plain JSON");
    text.push(b'\n');
    text
}

/// Writes a file as a whole or not at all.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let new = path.with_extension("new");
    let written = std::fs::write(&new, bytes).and_then(|()| std::fs::rename(&new, path));
    written.map_err(|error| {
        Failure::environment(format!("cannot write {}: {error}", path.display()))
            .hint("free space on its disk; --resume goes on from what was kept")
    })
}

/// What says that a folder is a training's.
pub const ORDER: &str = "train.json";
