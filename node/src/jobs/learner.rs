//! What a member does with a model, whichever it is: take in an adapter, train it, score it.

use std::ops::ControlFlow;

use witan_model::blip3o::tower::FOLDER;
use witan_model::blip3o::{self, Targets};
use witan_model::data::tokenizer::WordError;
use witan_model::data::{Dataset, VqaExample};
use witan_model::evaluate::{geneval, vqa};
use witan_model::{
    Adapter, Base, Committed, EncodedShard, LoraConfig, Step, TrainPlan, Trained, Umm,
};

use super::device::Device;
use super::foundation::{Checkpoint, Foundation};
use super::score::{self, Exam, Marks};
use super::shard::Shard;
use super::unified::Unified;
use crate::error::Failure;

/// Hears of every step, and may stop the training.
pub type Progress<'a> = &'a mut (dyn FnMut(Step) -> ControlFlow<()> + Send);

/// A model with one member's data.
pub trait Learner {
    /// Puts in what a round committed.
    ///
    /// # Errors
    /// If it is not of this model.
    fn adopt(&mut self, committed: &Committed) -> Result<(), Failure>;

    /// Trains from `start`; none if it was stopped.
    ///
    /// # Errors
    /// If the loss leaves the finite numbers, or data cannot be read any more.
    fn train(
        &mut self,
        start: &Adapter,
        plan: &TrainPlan,
        progress: Progress<'_>,
    ) -> Result<Option<Trained>, Failure>;

    /// The marks, on the member's held-out data, of the adapter that is in.
    ///
    /// # Errors
    /// If data cannot be read any more.
    fn marks(&self, seed: u64) -> Result<Marks, Failure>;
}

/// Loads a model with room for an adapter, and reads a member's data with it; its captions for a checkpoint only with
/// targets.
///
/// # Errors
/// If the model cannot be loaded, or the data have nothing for it to learn.
pub fn open(
    foundation: &Foundation,
    lora: &LoraConfig,
    (data, targets): (&Shard, Option<Targets>),
    device: &Device,
) -> Result<Box<dyn Learner>, Failure> {
    match foundation {
        Foundation::Embedded(base) => Ok(Box::new(Embedded::open(base, lora, data, device)?)),
        Foundation::Blip3o(checkpoint) => {
            let held_out = score::small(&data.held_out);
            let learner =
                Checkpointed::open(checkpoint, lora, (&data.training, targets), held_out, device)?;
            let captions = learner.training.undrawable_count();
            if learner.training.example_count() == 0 {
                return Err(nothing_to_ask(captions));
            }
            if captions > 0 {
                tracing::error!(captions, "left out: the checkpoint has no {FOLDER}");
            }
            Ok(Box::new(learner))
        }
    }
}

/// A checkpoint that is only scored, on all of `held_out`.
///
/// # Errors
/// If it cannot be loaded.
pub fn examined(
    checkpoint: &Checkpoint,
    lora: &LoraConfig,
    held_out: Dataset,
    device: &Device,
) -> Result<Box<dyn Learner>, Failure> {
    let nothing = Dataset::default();
    Ok(Box::new(Checkpointed::open(checkpoint, lora, (&nothing, None), held_out, device)?))
}

/// The embedded model; pictures have passed its frozen encoder.
struct Embedded {
    umm: Umm,
    training: EncodedShard,
    held_out: Exam,
}

impl Embedded {
    fn open(
        base: &Base,
        lora: &LoraConfig,
        data: &Shard,
        device: &Device,
    ) -> Result<Self, Failure> {
        let umm = Umm::new(base, lora, device).map_err(Failure::input)?;
        let training = EncodedShard::encode(&umm, &data.training);
        if training.example_count() == 0 {
            return Err(nothing_to_train_on(training.unknown()));
        }
        let held_out = Exam::of_member(&umm, &data.held_out);
        Ok(Self { umm, training, held_out })
    }
}

impl Learner for Embedded {
    fn adopt(&mut self, committed: &Committed) -> Result<(), Failure> {
        self.umm.set_committed(committed).map_err(Failure::input)
    }

    fn train(
        &mut self,
        start: &Adapter,
        plan: &TrainPlan,
        progress: Progress<'_>,
    ) -> Result<Option<Trained>, Failure> {
        witan_model::train(&mut self.umm, start, &self.training, plan, progress)
            .map_err(Failure::input)
    }

    fn marks(&self, seed: u64) -> Result<Marks, Failure> {
        Ok(self.held_out.marks(&self.umm, seed))
    }
}

/// A BLIP3o; it answers its held-out questions, and its drawings, which are features, are not judged.
struct Checkpointed {
    unified: Unified,
    training: blip3o::Shard,
    held_out: blip3o::Shard,
    questions: Vec<VqaExample>,
}

impl Checkpointed {
    fn open(
        checkpoint: &Checkpoint,
        lora: &LoraConfig,
        (training, targets): (&Dataset, Option<Targets>),
        held_out: Dataset,
        device: &Device,
    ) -> Result<Self, Failure> {
        let unified = Unified::open(checkpoint, Some(lora), device)?;
        let (training, examined) =
            (unified.read(training, targets)?, unified.read(&held_out, None)?);
        Ok(Self { training, held_out: examined, questions: held_out.questions, unified })
    }
}

impl Learner for Checkpointed {
    fn adopt(&mut self, committed: &Committed) -> Result<(), Failure> {
        self.unified.adopt(&committed.adapter)
    }

    fn train(
        &mut self,
        start: &Adapter,
        plan: &TrainPlan,
        progress: Progress<'_>,
    ) -> Result<Option<Trained>, Failure> {
        witan_model::train(&mut self.unified.blip3o, start, &self.training, plan, progress)
            .map_err(Failure::input)
    }

    fn marks(&self, _seed: u64) -> Result<Marks, Failure> {
        let answers = (0..self.questions.len())
            .map(|question| self.unified.answer_of(&self.held_out, question))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Marks::of(&vqa::score(&self.questions, &answers), &geneval::Report::default()))
    }
}

/// Why a member without one usable example sits out.
pub fn nothing_to_train_on(unknown: Option<&WordError>) -> Failure {
    let because = unknown.map(|error| format!(": {error}")).unwrap_or_default();
    Failure::input(format!("no question with a one-word answer and no caption{because}"))
}

fn nothing_to_ask(captions: usize) -> Failure {
    match captions {
        0 => Failure::input("neither a question nor a caption to train on"),
        some => Failure::input(format!(
            "no question, and {some} captions cannot be drawn without the tower that makes their targets"
        ))
        .hint(format!("put EVA-CLIP's tower into the checkpoint's folder {FOLDER}")),
    }
}
