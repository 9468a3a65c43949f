//! The tower that makes a BLIP3o's training targets: which one it is, and what it makes of a member's pictures.
//!
//! It is larger than the model, so it is loaded only while there are targets to be made, before the model is.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use witan_model::blip3o::Targets;
use witan_model::blip3o::tower::{self, FOLDER};
use witan_model::data::Dataset;
use witan_model::tensor_files::TensorFiles;
use witan_protocol::digest::Digest;

use super::checkpoint::bad;
use super::device::Device;
use super::foundation::{Checkpoint, digest_of};
use crate::error::Failure;

/// The tower in a checkpoint's folder, not loaded.
#[derive(Debug)]
pub struct Tower {
    checkpoint: Arc<Checkpoint>,
    /// Of its files.
    pub digest: Digest,
}

/// Hears how many pictures of how many are done, and may stop the rest.
pub type Told<'a> = &'a mut dyn FnMut(usize, usize) -> ControlFlow<()>;

impl Tower {
    /// The one of a checkpoint; none if its folder has none.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn of(checkpoint: &Arc<Checkpoint>) -> Result<Option<Self>, Failure> {
        let folder = checkpoint.folder.join(FOLDER);
        if !folder.is_dir() {
            return Ok(None);
        }
        let files = TensorFiles::open(&folder).map_err(|error| bad(&folder, &error))?;
        let config = folder.join("config.json");
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
            .map_err(|error| bad(&self.folder(), &error))?
            .ok_or_else(|| bad(&self.folder(), &"it is gone"))?;
        for (done, picture) in missing.iter().enumerate() {
            if told(done, missing.len()).is_break() {
                return Ok(None);
            }
            let made = targets.make(*picture, &data.pictures[*picture], &tower);
            made.map_err(Failure::input)?;
        }
        let _ = told(missing.len(), missing.len());
        Ok(Some(targets))
    }

    /// Its folder.
    pub fn folder(&self) -> PathBuf {
        self.checkpoint.folder.join(FOLDER)
    }
}
