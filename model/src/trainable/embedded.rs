//! The embedded model as a trainable one: it knows few words, draws pixels, and several of it fit
//! one machine.

use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use witan_adapter::{Adaptable, Committed, LoraConfig, Strategy};
use witan_data::Part;
use witan_data::fault::Fault;
use witan_data::tokenizer::{Tokenizer, WordError};
use witan_data::{Dataset, Picture};

use super::{
    BaseModel, Count, Drawing, DrawingKind, Targets, TrainObserver, TrainTask, Trainable,
    TrainingData, train,
};
use crate::device::Device;
use crate::families::tiny::Umm;
use crate::families::tiny::base::Base;
use crate::families::tiny::shard::EncodedShard;
use crate::train::Trained;

/// The base in the program, or one that is to become it.
#[derive(Debug)]
pub struct Embedded {
    base: Base,
    adaptable: Adaptable,
    words: Tokenizer,
    digest: OnceLock<[u8; 32]>,
}

impl Embedded {
    /// The one in the program.
    pub fn open() -> Self {
        Self::of(Base::embedded())
    }

    /// Another of its kind.
    pub fn of(base: Base) -> Self {
        let adaptable = base.adaptable();
        Self { base, adaptable, words: Tokenizer::new(), digest: OnceLock::new() }
    }
}

impl BaseModel for Embedded {
    /// Of sizes and weights.
    fn digest(&self) -> Result<[u8; 32], Fault> {
        Ok(*self.digest.get_or_init(|| {
            let sizes = serde_json::to_vec(self.base.config()).expect("sizes are plain JSON");
            let mut hasher = blake3::Hasher::new_derive_key("witan base model");
            *hasher.update(&sizes).update(&self.base.weight_bytes()).finalize().as_bytes()
        }))
    }

    fn folder(&self) -> Option<&Path> {
        None
    }

    fn lora(&self) -> LoraConfig {
        LoraConfig::default()
    }

    fn adaptable(&self) -> &Adaptable {
        &self.adaptable
    }

    fn parameter_count(&self) -> u64 {
        self.base.parameter_count() as u64
    }

    fn words(&self) -> Option<&Tokenizer> {
        Some(&self.words)
    }

    fn drawing(&self) -> DrawingKind {
        DrawingKind::Pixels
    }

    fn learns_captions(&self) -> Result<bool, Fault> {
        Ok(true)
    }

    fn check_strategy(&self, _strategy: &Strategy) -> Result<(), Fault> {
        Ok(())
    }

    fn loaded_max(&self) -> usize {
        usize::MAX
    }

    fn targets(
        &self,
        _data: &Dataset,
        _cache: &Path,
        _device: &Device,
        _count: Count<'_>,
    ) -> Result<Targets, Fault> {
        Ok(Targets::default())
    }

    fn load(&self, lora: &LoraConfig, device: &Device) -> Result<Box<dyn Trainable>, Fault> {
        Ok(Box::new(Umm::new(&self.base, lora, device).map_err(Fault::input)?))
    }
}

/// Pictures pass the frozen encoder when data are read.
impl Trainable for Umm {
    fn adopt(&mut self, committed: &Committed) -> Result<(), Fault> {
        self.set_committed(committed).map_err(Fault::input)
    }

    fn read(&self, data: &Dataset, _targets: Targets) -> Result<TrainingData, Fault> {
        Ok(read(EncodedShard::encode(self, data)))
    }

    fn read_part(
        &self,
        (data, whole): (&Dataset, &TrainingData),
        part: &Part,
        _targets: &dyn Fn(&Dataset) -> Result<Targets, Fault>,
    ) -> Result<TrainingData, Fault> {
        Ok(read(whole.of::<EncodedShard>().part(self, data, part)))
    }

    fn train(
        &mut self,
        task: &TrainTask<'_>,
        observer: &mut dyn TrainObserver,
    ) -> Result<Trained, Fault> {
        train::train(self, task.data.of::<EncodedShard>(), task, observer)
    }

    fn answers(&self, data: &TrainingData, questions: Range<usize>) -> Result<Vec<String>, Fault> {
        Ok(self.answer_batch(data.of(), questions))
    }

    /// One word, whatever `tokens_max` allows.
    fn answer(&self, image: &Path, question: &str, _tokens_max: usize) -> Result<String, Fault> {
        let picture = super::picture(image, Picture::from_bytes)?;
        Umm::answer(self, &picture, question).map_err(unknown)
    }

    fn draw(
        &self,
        captions: &[&str],
        range: Range<usize>,
        seed: u64,
    ) -> Result<Vec<Drawing>, Fault> {
        let drawn = self.draw_part(captions, range, seed).map_err(unknown)?;
        Ok(drawn.into_iter().map(Drawing::Pixels).collect())
    }

    fn batch_max(&self) -> usize {
        64
    }
}

fn read(shard: EncodedShard) -> TrainingData {
    let because = shard.unknown().map(|error| format!(": {error}")).unwrap_or_default();
    let nothing = format!("no question with a one-word answer and no caption{because}");
    TrainingData {
        questions: shard.example_count() - shard.caption_count(),
        captions: shard.caption_count(),
        left_out: None,
        nothing: (shard.example_count() == 0).then(|| Fault::input(nothing)),
        read: Arc::new(shard),
    }
}

fn unknown(error: WordError) -> Fault {
    Fault::input(error).hint("`witan ask --words` lists every word it knows")
}
