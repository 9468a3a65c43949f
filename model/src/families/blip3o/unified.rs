//! A loaded BLIP3o: asked about pictures, and for the features of drawings.

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use image::RgbImage;
use witan_adapter::tensor_files::TensorFiles;
use witan_adapter::tensors::{HostTensor, WeightError, Weights, encode};
use witan_adapter::{Adaptable, Adapter, AdapterError, LoraConfig};

use super::pixels::{Patches, PixelBounds, TooLong};
use super::{Blip3oConfig, Network, prompt};
use crate::families::language::causal::likeliest;
use crate::families::language::rows::Rows;
use crate::families::language::{Activations, KvCache, Task};
use crate::families::trunk::diffusion::DiffusionConfig;
use crate::families::trunk::flow::start_noise;
use crate::host::floats;
use crate::layers::adapted::Adapted;
use crate::layers::loader::Loader;

/// A loaded model, with room for an adapter if it was loaded for one.
#[derive(Debug)]
pub struct Blip3o {
    config: Blip3oConfig,
    pub(super) activations: Activations,
    pub(super) adapted: Adapted<Network>,
}

/// What the frozen encoder saw in a picture; made once, however often the picture is asked about.
#[derive(Clone, Debug)]
pub struct Seen {
    /// `[tokens, hidden]`, row-major.
    tokens: Tensor<2>,
    /// Rows and columns of tokens.
    grid: [usize; 2],
}

impl Seen {
    /// Tokens of the picture.
    pub fn token_count(&self) -> usize {
        self.grid[0] * self.grid[1]
    }
}

impl Blip3o {
    /// Loads a checkpoint onto a device, with an adapter that changes nothing if `lora` names one.
    /// What training keeps for backward decides how the weights are kept.
    pub fn load(
        files: &TensorFiles,
        config: &Blip3oConfig,
        lora: Option<&LoraConfig>,
        activations: Activations,
        device: &Device,
    ) -> Result<Blip3o, WeightError> {
        let loader = Loader::from_checkpoint(files, activations.weight_format(), device);
        let adapted = Adapted::load(loader, lora, |loader| Network::load(loader, config))?;
        Ok(Blip3o { config: config.clone(), activations, adapted })
    }

    /// The layers of models of these sizes that an adapter can be put beside.
    pub fn adaptable(config: &Blip3oConfig) -> Adaptable {
        Network::listed(config).adaptable.into_iter().collect()
    }

    /// Puts an adapter in; it must have the names and shapes this model was loaded with.
    pub fn set_adapter(&mut self, adapter: &Adapter) -> Result<(), AdapterError> {
        self.adapted.set(adapter)
    }

    /// The adapter now in.
    pub fn adapter(&self) -> Adapter {
        self.adapted.adapter()
    }

    /// The sizes of the model.
    pub fn config(&self) -> &Blip3oConfig {
        &self.config
    }

    /// Looks at a picture, brought to a size within bounds.
    ///
    /// # Errors
    /// If one side is far longer than the other.
    pub fn look_at(&self, picture: &RgbImage, bounds: PixelBounds) -> Result<Seen, TooLong> {
        Ok(self.look(&Patches::of(picture, bounds, &self.config.vision)?))
    }

    /// Looks at a picture cut into patches.
    pub fn look(&self, patches: &Patches) -> Seen {
        let vision = self.adapted.network.vision.valid();
        let config = &self.config.vision;
        let device = self.adapted.network.trunk.device().inner();
        let tokens = vision.forward(patches.tensor(&device), patches.grid, config);
        Seen { tokens, grid: patches.grid.map(|side| side / config.spatial_merge_size) }
    }

    /// The logits after the last `last` positions of a text about a picture.
    ///
    /// Panics unless the text has a token of the picture for each that was seen.
    pub fn logits(&self, seen: &Seen, text: &[u32], last: usize) -> Vec<f32> {
        let (rows, extra) = self.rows(&[(seen, text)]);
        let trunk = self.adapted.network.trunk.valid();
        floats(trunk.text_logits(extra, &rows, last, &self.config.trunk))
    }

    /// The likeliest tokens after a text about a picture, until `end` is said or `count` are. None
    /// of them is the one that stands for a picture, which an answer cannot show.
    ///
    /// Panics as [`Blip3o::logits`] does.
    pub fn answer(&self, seen: &Seen, text: &[u32], end: Option<u32>, count: usize) -> Vec<u32> {
        let language = self.adapted.network.trunk.language.valid();
        let config = &self.config.trunk.language;
        let mut cache = KvCache::default();
        let mut said = text.to_vec();
        while said.len() < text.len() + count {
            let (rows, extra) = self.rows(&[(seen, &said)]);
            let task = Task { extra: Some(extra), rows: &rows, last: 1, config };
            let mut logits = floats(language.next_logits(&mut cache, task));
            if let Some(logit) = logits.get_mut(self.config.image_token as usize) {
                *logit = f32::NEG_INFINITY;
            }
            let token = likeliest(&logits);
            if Some(token) == end {
                break;
            }
            said.push(token);
        }
        said.split_off(text.len())
    }

    /// The hidden states at the image queries after a text: `[queries, hidden]`.
    pub fn states(&self, text: &[u32]) -> Vec<f32> {
        let config = &self.config.trunk;
        floats(
            self.adapted.network.trunk.valid().query_states(&config.caption_rows(&[text]), config),
        )
    }

    /// The features of a drawing of a text: `[places, channels]`, from noise of that shape.
    ///
    /// What paints pixels from them is no part of this program. Panics if there is less noise or
    /// more.
    pub fn draw(&self, text: &[u32], noise: Vec<f32>) -> Vec<f32> {
        let (config, trunk) = (&self.config.trunk, self.adapted.network.trunk.valid());
        let states = trunk.query_states(&config.caption_rows(&[text]), config);
        let shape = [1, config.diffusion.places, config.diffusion.channels];
        let noise = Tensor::from_data(TensorData::new(noise, shape), &states.device());
        floats(trunk.denoise(states, noise, config))
    }

    /// The features of a drawing from the noise of a stream of a seed, as a safetensors file:
    /// `features`, `[1, places, channels]`.
    pub fn features_file(&self, text: &[u32], (seed, stream): (u64, u64)) -> Vec<u8> {
        let DiffusionConfig { places, channels, .. } = self.config.trunk.diffusion;
        let values = self.draw(text, start_noise(seed, stream, places * channels));
        let features = HostTensor { shape: vec![1, places, channels], values };
        encode(&Weights::from([("features".to_owned(), features)]))
    }

    /// Texts about pictures as rows, and the pictures' tokens as what their slots stand for.
    pub(super) fn rows(&self, asked: &[(&Seen, &[u32])]) -> (Rows, Tensor<2>) {
        let image = self.config.image_token;
        let mut slot = self.config.trunk.language.vocab_size as i32;
        let (mut rows, mut places) = (Vec::new(), Vec::new());
        for (seen, text) in asked {
            let count = text.iter().filter(|token| **token == image).count();
            assert_eq!(count, seen.grid[0] * seen.grid[1], "tokens of the picture in the text");
            let row = text.iter().map(|token| match *token == image {
                true => {
                    slot += 1;
                    slot - 1
                }
                false => *token as i32,
            });
            rows.push(row.collect());
            places.push(prompt::places(text, image, seen.grid));
        }
        let tokens = asked.iter().map(|(seen, _)| seen.tokens.clone()).collect();
        (Rows::padded(rows).placed(places), Tensor::cat(tokens, 0))
    }
}
