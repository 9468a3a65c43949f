//! A whole BLIP3o checkpoint: asked about a picture, for the features of a drawing, tried with a step of training.

use std::path::Path;
use std::time::Instant;

use witan_home::Failure;
use witan_model::data::{Dataset, VqaExample, image_file, prompts};
use witan_model::evaluate::geneval::folder::Folder;
use witan_model::evaluate::{Tally, vqa};
use witan_model::families::blip3o::error::ReadError;
use witan_model::families::blip3o::pixels::Patches;
use witan_model::families::blip3o::tuning::{Captions, Question, Tuning};
use witan_model::families::blip3o::{Blip3o, Blip3oConfig, Reader, Shard, Targets};
use witan_model::families::trunk::flow::{Noise, start_noise};
use witan_model::inspect::memory::PICTURE_SIDE;
use witan_model::{Adapter, LoraConfig};

use super::checkpoint::{self, Activations, CheckpointInfo, StepShape, Trial, Tried, bad};
use super::device::{self, Compute, Device};
use super::evaluate::{Progress, unwritten};
use super::foundation::Checkpoint;

/// A loaded model with its tokenizer.
pub struct Unified {
    pub(super) blip3o: Blip3o,
    reader: Reader,
}

impl Unified {
    /// Loads a folder, with a PEFT adapter if one is given.
    ///
    /// # Errors
    /// If there is no such device, or the folder or the adapter is not what it should be.
    pub fn load(folder: &Path, adapter: Option<&Path>, compute: Compute) -> Result<Self, Failure> {
        let device = device::open(compute)?;
        let checkpoint = Checkpoint::open(folder)?;
        let adapter = adapter.map(|adapter| checkpoint.import(adapter)).transpose()?;
        let mut unified = Self::open(&checkpoint, adapter.as_ref().map(|(_, lora)| lora), &device)?;
        if let Some((adapter, _)) = &adapter {
            unified.blip3o.set_adapter(adapter).map_err(|error| bad(folder, &error))?;
        }
        Ok(unified)
    }

    /// Loads a checkpoint, with room for an adapter.
    ///
    /// # Errors
    /// If it cannot be loaded.
    pub fn open(
        checkpoint: &Checkpoint,
        lora: Option<&LoraConfig>,
        device: &Device,
    ) -> Result<Self, Failure> {
        let Checkpoint { folder, survey, config } = checkpoint;
        let reader = Reader::open(folder).map_err(|error| bad(folder, &error))?;
        // Layers are computed again: the weights stay as they are stored, and memory is what a member lacks first.
        let again = Activations::Recomputed;
        let blip3o = Blip3o::load(&survey.files, config, lora, again, device)
            .map_err(|error| bad(folder, &error))?;
        Ok(Self { blip3o, reader })
    }

    /// Puts an adapter in.
    ///
    /// # Errors
    /// If it is not of the shape that the model was loaded with room for.
    pub fn adopt(&mut self, adapter: &Adapter) -> Result<(), Failure> {
        self.blip3o.set_adapter(adapter).map_err(Failure::input)
    }

    /// Reads data with it; captions only with targets.
    ///
    /// # Errors
    /// If the tokenizer is another model's.
    pub fn read(&self, data: &Dataset, targets: Option<Targets>) -> Result<Shard, Failure> {
        Shard::encode(&self.blip3o, &self.reader, data, targets).map_err(Failure::input)
    }

    /// The likeliest answer to a question of data that were read.
    ///
    /// # Errors
    /// If a picture cannot be read any more, or the tokenizer fails.
    pub fn answer_of(&self, shard: &Shard, question: usize) -> Result<String, Failure> {
        shard.answer(&self.blip3o, &self.reader, question).map_err(Failure::input)
    }

    /// The likeliest answer to a question about the picture in a file, of at most `count` tokens.
    ///
    /// # Errors
    /// If the file is no picture, or the tokenizer is another model's.
    pub fn answer(&self, image: &Path, question: &str, count: usize) -> Result<String, Failure> {
        let bytes = std::fs::read(image).map_err(|error| bad(image, &error))?;
        let picture = image_file::decode(&bytes).map_err(|error| bad(image, &error))?;
        let (blip3o, reader) = (&self.blip3o, &self.reader);
        let seen = reader.look(blip3o, &picture).map_err(|error| bad(image, &error))?;
        let question = reader.question(blip3o, question).map_err(misread)?;
        reader.answer(blip3o, &seen, &question, count).map_err(misread)
    }

    /// The features of a drawing from the noise of a stream of a seed, as a safetensors file: `features`,
    /// `[1, places, channels]`.
    ///
    /// # Errors
    /// If the tokenizer is another model's.
    pub fn draw(&self, caption: &str, noise: (u64, u64)) -> Result<Vec<u8>, Failure> {
        let text = self.reader.caption(&self.blip3o, caption).map_err(misread)?;
        Ok(self.blip3o.features_file(&text, noise))
    }
}

/// The scores of answers; by words not, because which of them the embedded model was never taught says nothing here.
pub fn score(questions: &[VqaExample], answers: &[String]) -> vqa::Report {
    let (old, new) = (Tally::default(), Tally::default());
    vqa::Report { old, new, ..vqa::score(questions, answers) }
}

/// Prompts of a file in GenEval's form, each drawn so many times from a seed's noise.
#[derive(Clone, Copy, Debug)]
pub struct Drawings<'a> {
    /// The file.
    pub prompts: &'a Path,
    /// Drawings of each.
    pub images: usize,
    /// Decides the noise.
    pub seed: u64,
}

impl Unified {
    /// Draws the prompts of a file into a folder laid out as GenEval's: features in place of pictures. Image `k` of
    /// prompt `i` starts from stream `i` of the noise of `seed + k`.
    ///
    /// # Errors
    /// If the file is none, the tokenizer another model's, or the folder cannot be written.
    pub fn draw_all(
        &self,
        drawings: Drawings<'_>,
        folder: &Path,
        tell: &mut dyn FnMut(Progress),
    ) -> Result<usize, Failure> {
        let Drawings { prompts, images, seed } = drawings;
        let prompts = prompts::read_any(prompts).map_err(|error| {
            Failure::input(error)
                .hint("prompts are lines as of GenEval's evaluation_metadata.jsonl")
        })?;
        let folder = Folder::create(folder).map_err(unwritten)?;
        let total = prompts.len() * images;
        for image in 0..images {
            for (number, prompt) in prompts.iter().enumerate() {
                let noise = (seed.wrapping_add(image as u64), number as u64);
                let features = self.draw(&prompt.prompt, noise)?;
                let added = folder.add_file((number, prompt), (image, "safetensors"), &features);
                added.map_err(unwritten)?;
                let done = image * prompts.len() + number + 1;
                tell(Progress { stage: "drawing", done, total });
            }
        }
        Ok(total)
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
    survey: &CheckpointInfo,
    config: &Blip3oConfig,
    trial: &Trial,
) -> Result<Tried, Failure> {
    let Trial { lora, demand } = trial;
    let StepShape { tokens, activations, compute, .. } = demand;
    let device = device::open_model(*compute)?;
    let mut blip3o = Blip3o::load(&survey.files, config, Some(lora), *activations, &device)
        .map_err(|error| bad(folder, &error))?;
    blip3o
        .set_adapter(&Adapter::init(&Blip3o::adaptable(config), lora, 0))
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
        let drawn = plain.draw("a red star", (1, 0)).unwrap();
        assert_eq!(plain.draw("a red star", (1, 0)).unwrap(), drawn);
        assert_ne!(plain.draw("a red star", (1, 2)).unwrap(), drawn);
        assert_ne!(adapted.draw("a red star", (1, 0)).unwrap(), drawn);
    }

    #[test]
    fn a_step_of_both_tasks_is_tried_whether_layers_are_computed_once_or_twice() {
        let survey = checkpoint::survey(&pinned("blip3o")).unwrap();
        let losses = [Activations::Kept, Activations::Recomputed].map(|activations| {
            let (lora, compute) = (checkpoint::lora(&survey, 2), device::of_model(Compute::Cpu));
            let demand = StepShape { questions: 2, captions: 2, tokens: 8, activations, compute };
            let trial = Trial { lora, demand };
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
