//! The tower that says what a drawing should become: EVA-CLIP, in a folder of its own inside the
//! checkpoint's.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use serde::Deserialize;
use witan_adapter::tensor_files::{FilesError, TensorFiles};
use witan_adapter::tensors::WeightError;
use witan_data::Picture;

use super::error::ReadError;
use super::pixels::middle;
use crate::families::blip3o::eva::{Eva, EvaConfig, pooled};
use crate::families::trunk::diffusion::DiffusionConfig;
use crate::host::floats;
use crate::layers::loader::Loader;
use crate::precision::WeightFormat;

/// A loaded tower.
pub struct Tower {
    eva: Eva,
    config: EvaConfig,
    /// Patches along one side of the square that makes one place of a drawing.
    square: usize,
    device: Device,
}

/// Why there is no tower.
#[derive(Debug, thiserror::Error)]
pub enum TowerError {
    /// Its files are damaged.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// A tensor cannot be had.
    #[error(transparent)]
    Weight(#[from] WeightError),
    /// `config.json` is not what it should be.
    #[error("{}: expected {{\"num_heads\": NUMBER}}, a divisor of the width", path.display())]
    Config {
        /// The file.
        path: PathBuf,
    },
    /// It makes other features than the model draws.
    #[error(
        "{}: features of {found:?} (places, channels), the model draws {expected:?}",
        path.display()
    )]
    Sizes {
        /// The tower's folder.
        path: PathBuf,
        /// The model's places and channels.
        expected: [usize; 2],
        /// The tower's patches and width.
        found: [usize; 2],
    },
}

/// What the tensors do not say.
#[derive(Deserialize)]
struct OwnConfig {
    num_heads: usize,
}

impl Tower {
    /// Loads `eva_clip_vision_tower/` of a checkpoint's folder; none if there is no such folder.
    ///
    /// # Errors
    /// If it is there and not the tower of a model that draws so.
    pub fn open(
        folder: &Path,
        drawing: &DiffusionConfig,
        device: &Device,
    ) -> Result<Option<Tower>, TowerError> {
        let folder = folder.join(FOLDER);
        if !folder.is_dir() {
            return Ok(None);
        }
        let files = TensorFiles::open(&folder)?;
        let path = folder.join("config.json");
        let heads = match std::fs::read(&path) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).ok().map(|OwnConfig { num_heads }| num_heads)
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Some(HEADS),
            Err(source) => return Err(FilesError::File { path, source }.into()),
        };
        let heads = heads.filter(|heads| *heads > 0);
        let heads = heads.ok_or_else(|| TowerError::Config { path: path.clone() })?;
        let Some(config) = EvaConfig::of(&files, heads) else {
            let name = "patch_embed.proj.weight".to_owned();
            return Err(WeightError::Missing { name }.into());
        };
        if !config.hidden_size.is_multiple_of(heads) {
            return Err(TowerError::Config { path });
        }
        let (side, places) = (config.patches.isqrt(), drawing.places.isqrt().max(1));
        let (square, expected) = (side / places, [drawing.places, drawing.channels]);
        if [(square * places).pow(2), config.hidden_size] != [config.patches, drawing.channels] {
            let found = [config.patches, config.hidden_size];
            return Err(TowerError::Sizes { path: folder, expected, found });
        }
        let mut loader = Loader::from_checkpoint(&files, WeightFormat::AsStored, device);
        let eva = Eva::load(&mut loader, config)?;
        Ok(Some(Tower { eva, config, square, device: device.clone().autodiff() }))
    }

    /// What a drawing of a picture should become: `[places, channels]`.
    ///
    /// # Errors
    /// If the picture cannot be read.
    pub fn features(&self, picture: &Picture) -> Result<Vec<f32>, ReadError> {
        let side = self.config.patch * self.config.patches.isqrt();
        let pixels = middle(&picture.whole()?, side, &self.device);
        let pixels = pixels.map_err(|error| ReadError::of(picture, error))?;
        Ok(floats(pooled(self.eva.forward(pixels, self.config), self.square)))
    }
}

/// Where it lies, under the name by which it is released.
pub const FOLDER: &str = "eva_clip_vision_tower";
/// EVA-CLIP E/14-plus.
const HEADS: usize = 16;
