//! What the folder of trainings keeps of each, whether it belongs to them, and what an earlier run left.

use std::ops::ControlFlow;
use std::sync::Mutex;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use witan_home::Failure;
use witan_node::jobs::model::Model;
use witan_node::jobs::score::Marks;
use witan_node::jobs::{Ground, chosen};
use witan_protocol::digest::Digest;

use super::{TrainSpec, TrainedRow, Watch};
use crate::event::Event;
use crate::folder::Folder;
use crate::training::{Candidate, Desk, Solo, Step, Trained, TrainingState, Watching, kept};

/// What everything in the folder must be a part of.
pub(super) struct Identity<'a> {
    pub(super) spec: &'a TrainSpec,
    pub(super) base: Digest,
    pub(super) tower: Option<Digest>,
    pub(super) data: Digest,
}

impl Identity<'_> {
    pub(super) fn digest(&self) -> Digest {
        let spec = serde_json::to_vec(self.spec).expect("a spec is plain JSON");
        let tower = self.tower.map_or([0; 32], |tower| tower.0);
        let of = [&spec[..], &self.base.0, &tower, &self.data.0].concat();
        Digest::of_kind("witan training", &of)
    }
}

/// What lies in the folder, with what it is a part of.
#[derive(Serialize, Deserialize)]
struct Part<T> {
    /// See [`Identity`], in hexadecimal.
    training: String,
    #[serde(flatten)]
    part: T,
}

/// The folder's files, as the trainings need them.
pub(super) struct Store<'a, M: Model> {
    folder: &'a Folder,
    ground: &'a Ground,
    exam: &'a M::Exam,
    spec: &'a TrainSpec,
    identity: Digest,
    watch: Watch<'a>,
    rows: Mutex<Vec<TrainedRow>>,
}

impl<'a, M: Model> Store<'a, M> {
    pub(super) fn new(
        folder: &'a Folder,
        ground: &'a Ground,
        exam: &'a M::Exam,
        spec: &'a TrainSpec,
        identity: Digest,
        watch: Watch<'a>,
    ) -> Self {
        Self { folder, ground, exam, spec, identity, watch, rows: Mutex::default() }
    }

    /// The metrics of the base, from an earlier run if there was one.
    pub(super) fn base(&self, solo: &Solo<M>) -> Result<Marks, Failure> {
        if let Some(known) = self.read("base")? {
            return Ok(known);
        }
        let seed = self.spec.spec.cohort.seed;
        let metrics = solo.with_base(|model| self.watch.marks(model, self.exam, seed))?;
        self.write("base", &metrics)?;
        Ok(metrics)
    }

    /// Trains what is not trained yet; all of it, by roster number.
    pub(super) fn train_all(self, solo: &Solo<M>) -> Result<Vec<TrainedRow>, Failure> {
        let wanted = match self.spec.is_local_only {
            true => solo.members(),
            false => vec![Candidate::Centralized],
        };
        solo.train_all(&self.open(solo, &wanted)?, &self)?;
        let mut rows = self.rows.into_inner().expect("no worker has panicked");
        rows.sort_by_key(|row| row.member);
        Ok(rows)
    }

    fn write<T: Serialize>(&self, name: &str, part: &T) -> Result<(), Failure> {
        let part = Part { training: self.identity.to_string(), part };
        self.folder.write_json(format!("{name}.json"), &part)
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Failure> {
        let file = format!("{name}.json");
        match self.folder.read_json::<Part<T>>(&file)? {
            Some(found) if found.training != self.identity.to_string() => {
                let path = self.folder.path(file);
                Err(Failure::input(format!(
                    "{} is of another training: other data, settings, base or tower",
                    path.display()
                ))
                .hint("remove it, and it is made again with --resume"))
            }
            found => Ok(found.map(|it| it.part)),
        }
    }

    /// The candidates that are not done; takes in the metrics of those that are.
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
        (self.watch.listener)(&Event::Trainings { count: open.len(), steps, done });
        Ok(open)
    }

    /// What a paused training must be.
    fn terms(&self, candidate: Candidate) -> Digest {
        let of = [&self.identity.0[..], name(candidate).as_bytes()].concat();
        Digest::of_kind("witan training's terms", &of)
    }

    fn push(&self, row: TrainedRow) {
        self.rows.lock().expect("no worker has panicked").push(row);
    }
}

impl<M: Model> Watching for Store<'_, M> {
    fn goes_on(&self) -> ControlFlow<()> {
        self.watch.goes_on()
    }

    fn on_preparing(&self, done: usize, pictures: usize) {
        self.watch.on_preparing(done, pictures);
    }
}

impl<M: Model> Desk<M> for Store<'_, M> {
    fn on_idle(&self, candidate: Candidate) {
        let what = format!("{candidate}: nothing that these steps can teach");
        (self.watch.listener)(&Event::Said(what));
    }

    fn on_step(&self, candidate: Candidate, step: Step) {
        (self.watch.listener)(&Event::Step { candidate, step });
    }

    fn earlier(&self, candidate: Candidate) -> Result<Option<TrainingState>, Failure> {
        let path = self.folder.path(state(candidate));
        kept::read(&path, self.terms(candidate), &self.ground.initial)
    }

    fn keep(&self, candidate: Candidate, paused: &TrainingState) -> Result<(), Failure> {
        self.folder.write(state(candidate), &kept::to_bytes(paused, self.terms(candidate)))
    }

    fn on_trained(
        &self,
        candidate: Candidate,
        model: &M,
        trained: &Trained,
    ) -> Result<(), Failure> {
        let name = name(candidate);
        chosen::export(&self.folder.path(&name), &trained.adapter, &self.ground.lora)?;
        let row = TrainedRow {
            member: candidate.member(),
            steps: trained.steps,
            examples: trained.examples,
            loss: trained.loss,
            scores: self.watch.marks(model, self.exam, self.spec.spec.cohort.seed)?,
            name,
        };
        self.write(&row.name, &row)?;
        let _ = std::fs::remove_file(self.folder.path(state(candidate)));
        (self.watch.listener)(&Event::Trained(Box::new(row.clone())));
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

fn state(candidate: Candidate) -> String {
    format!("{}.state", name(candidate))
}
