//! A whole BLIP3o checkpoint: asked about a picture, for the features of a drawing, tried with a step of training.

use std::path::Path;
use std::time::Instant;

use witan_model::blip3o::pixels::Patches;
use witan_model::blip3o::shard::ReadError;
use witan_model::blip3o::tuning::{Captions, Question, Tuning};
use witan_model::blip3o::{Blip3o, Blip3oConfig, Reader};
use witan_model::data::picture;
use witan_model::memory::PICTURE_SIDE;
use witan_model::peft;
use witan_model::umm::flow::{Noise, start_noise};

use super::checkpoint::{self, Activations, Demand, Survey, Trial, Tried, bad};
use super::device::{self, Compute};
use crate::error::Failure;

/// A loaded model with its tokenizer.
pub struct Unified {
    blip3o: Blip3o,
    reader: Reader,
}

impl Unified {
    /// Loads a folder, with a PEFT adapter if one is given.
    ///
    /// # Errors
    /// If there is no such device, or the folder or the adapter is not what it should be.
    pub fn load(folder: &Path, adapter: Option<&Path>, compute: Compute) -> Result<Self, Failure> {
        let device = device::open(compute)?;
        let survey = checkpoint::survey(folder)?;
        let Some(config) = &survey.blip3o else {
            return Err(bad(folder, &format!("a {} neither sees nor draws", survey.kind))
                .hint("give a BLIP3o checkpoint; `witan model say` asks a language model"));
        };
        let reader = Reader::open(folder).map_err(|error| bad(folder, &error))?;
        let adapter = adapter.map(|adapter| {
            peft::import_like(adapter, |lora| Blip3o::fresh_adapter(config, lora, 0))
                .map_err(|error| bad(adapter, &error))
        });
        let adapter = adapter.transpose()?;
        let lora = adapter.as_ref().map(|(_, lora)| lora);
        let mut blip3o =
            Blip3o::load(&survey.files, config, lora, Activations::Recomputed, &device)
                .map_err(|error| bad(folder, &error))?;
        if let Some((adapter, _)) = &adapter {
            blip3o.set_adapter(adapter).map_err(|error| bad(folder, &error))?;
        }
        Ok(Self { blip3o, reader })
    }

    /// The likeliest answer to a question about the picture in a file, of at most `count` tokens.
    ///
    /// # Errors
    /// If the file is no picture, or the tokenizer is another model's.
    pub fn answer(&self, image: &Path, question: &str, count: usize) -> Result<String, Failure> {
        let bytes = std::fs::read(image).map_err(|error| bad(image, &error))?;
        let picture = picture::decode(&bytes).map_err(|error| bad(image, &error))?;
        let (blip3o, reader) = (&self.blip3o, &self.reader);
        let seen = reader.look(blip3o, &picture).map_err(|error| bad(image, &error))?;
        let question = reader.question(blip3o, question).map_err(misread)?;
        reader.answer(blip3o, &seen, &question, count).map_err(misread)
    }

    /// The features of a drawing as a safetensors file: `features`, `[1, places, channels]`.
    ///
    /// # Errors
    /// If the tokenizer is another model's.
    pub fn draw(&self, caption: &str, seed: u64) -> Result<Vec<u8>, Failure> {
        let text = self.reader.caption(&self.blip3o, caption).map_err(misread)?;
        Ok(self.blip3o.features_file(&text, seed))
    }
}

fn misread(error: ReadError) -> Failure {
    Failure::input(error).hint("tokenizer.json must be the one that belongs to the weights")
}

/// Trains a fresh adapter for two steps: made-up questions about a made-up picture, and made-up captions.
///
/// # Errors
/// If there is no such device, or the checkpoint cannot be loaded.
pub fn try_step(
    folder: &Path,
    survey: &Survey,
    config: &Blip3oConfig,
    trial: &Trial,
) -> Result<Tried, Failure> {
    let Trial { lora, demand, compute } = trial;
    let Demand { tokens, activations, .. } = demand;
    let device = device::open(*compute)?;
    let mut blip3o = Blip3o::load(&survey.files, config, Some(lora), *activations, &device)
        .map_err(|error| bad(folder, &error))?;
    blip3o
        .set_adapter(&Blip3o::fresh_adapter(config, lora, 0))
        .map_err(|error| bad(folder, &error))?;
    let patches = Patches::plain(&config.vision, PICTURE_SIDE);
    let seen = blip3o.look(&patches);
    let words =
        |count: usize| (0..count).map(|at| (at * 7919 % config.image_token as usize) as u32);
    let pads = std::iter::repeat_n(config.image_token, patches.token_count(&config.vision));
    let text = words(*tokens).chain(pads).collect();
    let question = Question { seen: &seen, text, answer: vec![1, 2] };
    let questions = vec![question; demand.questions];
    let diffusion = &config.trunk.diffusion;
    let size = diffusion.places * diffusion.channels;
    let count = demand.captions;
    let captions = || Captions {
        texts: vec![words(*tokens).collect(); count],
        targets: vec![0.5; count * size],
        noise: Noise {
            levels: vec![0.5; count],
            values: start_noise(0, 0, count * size),
            kept: vec![1.0; count],
        },
    };
    let mut tuning = Tuning::new(blip3o);
    let losses = tuning.step(&questions, captions(), checkpoint::RATE);
    let started = Instant::now();
    tuning.step(&questions, captions(), checkpoint::RATE);
    Ok(Tried::now(losses.sum(), started.elapsed()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pinned(family: &str) -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/tests/parity").join(family)
    }

    #[test]
    fn a_folder_is_asked_about_a_picture_and_draws_as_its_adapter_says() {
        let folder = pinned("blip3o");
        let load = |adapter: Option<&Path>| Unified::load(&folder, adapter, Compute::Cpu).unwrap();
        let (plain, adapted) = (load(None), load(Some(&folder.join("adapter"))));
        plain.answer(&folder.join("picture.png"), "what colour is it?", 3).unwrap();
        let drawn = plain.draw("a red star", 1).unwrap();
        assert_eq!(plain.draw("a red star", 1).unwrap(), drawn);
        assert_ne!(plain.draw("a red star", 2).unwrap(), drawn);
        assert_ne!(adapted.draw("a red star", 1).unwrap(), drawn);
    }

    #[test]
    fn a_step_of_both_tasks_is_tried_whether_layers_are_computed_once_or_twice() {
        let survey = checkpoint::survey(&pinned("blip3o")).unwrap();
        let losses = [Activations::Kept, Activations::Recomputed].map(|activations| {
            let (lora, compute) = (checkpoint::lora(&survey, 2), Compute::Cpu);
            let demand = Demand { questions: 2, captions: 2, tokens: 8, activations };
            let trial = Trial { lora, demand, compute };
            checkpoint::try_step(&pinned("blip3o"), &survey, &trial).unwrap().loss
        });
        assert!(losses[0].is_finite() && losses[0] == losses[1], "{losses:?}");
    }

    #[test]
    fn a_language_model_and_a_file_that_is_no_picture_are_refused() {
        let refused = |result: Result<(), Failure>| result.unwrap_err().to_string();
        let llama = Unified::load(&pinned("llama"), None, Compute::Cpu).map(drop);
        assert!(refused(llama).contains("a llama neither sees nor draws"));
        let folder = pinned("blip3o");
        let whole = Unified::load(&folder, None, Compute::Cpu).unwrap();
        let config = whole.answer(&folder.join("config.json"), "what is it?", 1).map(drop);
        assert!(refused(config).contains("config.json: not a png or jpeg file"));
    }
}
