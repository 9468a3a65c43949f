//! What a folder keeps of its trainings, whether it belongs to them, and what an earlier run left.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use witan_adapter::peft;
use witan_home::Failure;
use witan_node::jobs::FederatedModel;
use witan_protocol::digest::Digest;

use super::{Trained, TrainingState, state};
use crate::candidate::{Candidate, TrainedRow};
use crate::folder::Folder;
use crate::spec::TrainSpec;

/// What everything in the folder must be a part of.
pub struct Identity<'a> {
    /// What was asked for.
    pub spec: &'a TrainSpec,
    /// The base.
    pub base: Digest,
    /// What makes targets.
    pub tower: Option<Digest>,
    /// All that is trained on.
    pub data: Digest,
}

impl Identity<'_> {
    fn digest(&self) -> Digest {
        let spec = serde_json::to_vec(self.spec).expect("a spec is plain JSON");
        let tower = self.tower.map_or([0; 32], |tower| tower.0);
        let of = [&spec[..], &self.base.0, &tower, &self.data.0].concat();
        Digest::of_kind("witan training", &of)
    }
}

/// A file of the folder, with what it is a part of.
#[derive(Serialize, Deserialize)]
struct Part<T> {
    /// See [`Identity`], in hexadecimal.
    training: String,
    #[serde(flatten)]
    part: T,
}

/// The folder's files, as the trainings need them.
pub struct Store<'a> {
    folder: &'a Folder,
    model: &'a FederatedModel,
    identity: Digest,
}

impl<'a> Store<'a> {
    /// The files of the trainings of this identity.
    pub fn new(folder: &'a Folder, model: &'a FederatedModel, identity: &Identity<'_>) -> Self {
        Self { folder, model, identity: identity.digest() }
    }

    /// What an earlier run evaluated of a candidate, if it was done with it.
    ///
    /// # Errors
    /// If the file cannot be read, or is another training's.
    pub fn row(&self, candidate: Candidate) -> Result<Option<TrainedRow>, Failure> {
        self.read(&candidate.name())
    }

    /// Where an earlier run left a candidate.
    ///
    /// # Errors
    /// If the file cannot be read, or is another training's.
    pub fn paused(&self, candidate: Candidate) -> Result<Option<TrainingState>, Failure> {
        state::read(&self.state(candidate), self.terms(candidate), &self.model.aggregation.initial)
    }

    /// Keeps where a candidate is.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn keep(&self, candidate: Candidate, paused: &TrainingState) -> Result<(), Failure> {
        self.folder.write(self.state(candidate), &state::to_bytes(paused, self.terms(candidate)))
    }

    /// Writes a trained adapter, as Python's peft reads it.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn export(&self, candidate: Candidate, trained: &Trained) -> Result<(), Failure> {
        let folder = self.folder.path(candidate.name());
        peft::export(&folder, &trained.adapter, &self.model.lora).map_err(Failure::environment)
    }

    /// Writes what is evaluated: the candidate is done.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn finish(&self, candidate: Candidate, row: &TrainedRow) -> Result<(), Failure> {
        self.write(&candidate.name(), row)?;
        let _ = std::fs::remove_file(self.state(candidate));
        Ok(())
    }

    /// Reads a file of these trainings, if there is one.
    ///
    /// # Errors
    /// If it cannot be read, or is another training's.
    pub fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Failure> {
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

    /// Writes such a file.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn write<T: Serialize>(&self, name: &str, part: &T) -> Result<(), Failure> {
        let part = Part { training: self.identity.to_string(), part };
        self.folder.write_json(format!("{name}.json"), &part)
    }

    fn state(&self, candidate: Candidate) -> std::path::PathBuf {
        self.folder.path(format!("{}.state", candidate.name()))
    }

    /// What a paused training must be.
    fn terms(&self, candidate: Candidate) -> Digest {
        let of = [&self.identity.0[..], candidate.name().as_bytes()].concat();
        Digest::of_kind("witan training's terms", &of)
    }
}
