//! The tower that makes a BLIP3o's training targets: which one it is, and what it makes of a member's pictures.
//!
//! It is larger than the model, so it is loaded only while there are targets to be made, before the model is.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use witan_home::Failure;
use witan_model::data::Dataset;
use witan_model::families::blip3o::error::ReadError;
use witan_model::families::blip3o::{Targets, tower};
use witan_model::tensor_files::TensorFiles;
use witan_protocol::digest::Digest;

use super::checkpoint::bad;
use super::device::Device;
use super::foundation::{Checkpoint, digest_of};
use super::model::Told;
pub use witan_model::families::blip3o::tower::FOLDER;

/// The tower in a checkpoint's folder, not loaded.
#[derive(Clone, Debug)]
pub struct Tower {
    checkpoint: Arc<Checkpoint>,
    /// Of its files.
    pub digest: Digest,
}

impl Tower {
    /// The one of a checkpoint; none if its folder has none.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn of(checkpoint: &Arc<Checkpoint>) -> Result<Option<Self>, Failure> {
        let Some(files) = files(&checkpoint.folder)? else { return Ok(None) };
        let config = checkpoint.folder.join(FOLDER).join("config.json");
        let paths = files.paths().iter().cloned().chain(config.exists().then_some(config));
        let digest = digest_of("witan tower", paths)?;
        Ok(Some(Self { checkpoint: Arc::clone(checkpoint), digest }))
    }

    /// What drawings of captioned pictures should become, kept in `shelf`; those that are not there are made. None if
    /// it was stopped.
    ///
    /// # Errors
    /// If a picture cannot be read, the tower is not the model's, or the disk refuses.
    pub fn targets(
        &self,
        data: &Dataset,
        shelf: &Path,
        device: &Device,
        told: Told<'_>,
    ) -> Result<Option<Targets>, Failure> {
        let drawing = &self.checkpoint.config.trunk.diffusion;
        let targets = Targets::within(shelf, &self.digest.0, drawing, data);
        let targets = targets.map_err(Failure::input)?;
        let missing = targets.missing();
        if missing.is_empty() {
            return Ok(Some(targets));
        }
        let tower = tower::Tower::open(&self.checkpoint.folder, drawing, device)
            .map_err(|error| bad(&self.folder(), &error).hint(COPY_AGAIN))?
            .ok_or_else(|| bad(&self.folder(), &"it is gone"))?;
        for (done, picture) in missing.iter().enumerate() {
            if told(done, missing.len()).is_break() {
                return Ok(None);
            }
            let made = targets.make(*picture, &data.pictures[*picture], &tower);
            made.map_err(|error| match error {
                ReadError::Target { .. } => Failure::environment(error)
                    .hint("free space on its disk; what is made already is kept"),
                ReadError::NotFinite { .. } => Failure::input(error).hint(COPY_AGAIN),
                other => Failure::input(other),
            })?;
        }
        let _ = told(missing.len(), missing.len());
        Ok(Some(targets))
    }

    /// Its folder.
    pub fn folder(&self) -> PathBuf {
        self.checkpoint.folder.join(FOLDER)
    }
}

/// The bytes of the tower in a checkpoint's folder, as it is kept while it makes targets; none if there is no tower.
///
/// # Errors
/// If its files are damaged.
pub fn bytes(folder: &Path) -> Result<Option<u64>, Failure> {
    let files = files(folder)?;
    Ok(files.map(|files| files.tensors().values().map(|place| place.bytes as u64).sum()))
}

fn files(folder: &Path) -> Result<Option<TensorFiles>, Failure> {
    let folder = folder.join(FOLDER);
    match folder.is_dir() {
        true => TensorFiles::open(&folder)
            .map(Some)
            .map_err(|error| bad(&folder, &error).hint(COPY_AGAIN)),
        false => Ok(None),
    }
}

const COPY_AGAIN: &str = "copy the tower again from where it came from";
