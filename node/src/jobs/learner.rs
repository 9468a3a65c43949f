//! What a member does with a model, whichever it is: take in an adapter, train it, score it.

use std::ops::ControlFlow;

use witan_home::Failure;
use witan_model::families::blip3o::Targets;
use witan_model::{Adapter, Committed, LoraConfig, Step, TrainPlan, Trained, Umm};

use super::device::Device;
use super::foundation::Foundation;
use super::model::{Model, Read, Told};
use super::score::{self, Marks};
use super::shard::Shard;
use super::unified::Unified;

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

    /// The marks, on the member's held-out data, of the adapter that is in; none if it was stopped.
    ///
    /// # Errors
    /// If data cannot be read any more.
    fn marks(&self, seed: u64, told: Told<'_>) -> Result<Option<Marks>, Failure>;
}

/// Loads a model with room for an adapter, and reads a member's data with it; its captions for a checkpoint only with
/// targets.
///
/// # Errors
/// If the model cannot be loaded, or the data have nothing for it to learn.
pub fn open(
    foundation: &Foundation,
    lora: &LoraConfig,
    data: (&Shard, Option<Targets>),
    device: &Device,
) -> Result<Box<dyn Learner>, Failure> {
    Ok(match foundation {
        Foundation::Embedded(_) => Box::new(Student::<Umm>::open(foundation, lora, data, device)?),
        Foundation::Blip3o(_) => {
            Box::new(Student::<Unified>::open(foundation, lora, data, device)?)
        }
    })
}

struct Student<M: Model> {
    model: M,
    training: Read<M>,
    held_out: M::Exam,
}

impl<M: Model> Student<M> {
    fn open(
        foundation: &Foundation,
        lora: &LoraConfig,
        (data, targets): (&Shard, Option<Targets>),
        device: &Device,
    ) -> Result<Self, Failure> {
        let model = M::load(foundation, lora, device)?;
        let training = model.read(&data.training, targets)?;
        M::can_learn(&training)?;
        let held_out = model.examine(score::small(&data.held_out))?;
        Ok(Self { model, training, held_out })
    }
}

impl<M: Model> Learner for Student<M> {
    fn adopt(&mut self, committed: &Committed) -> Result<(), Failure> {
        self.model.adopt(committed)
    }

    fn train(
        &mut self,
        start: &Adapter,
        plan: &TrainPlan,
        progress: Progress<'_>,
    ) -> Result<Option<Trained>, Failure> {
        witan_model::train(self.model.pupil(), start, &self.training, plan, progress)
            .map_err(Failure::input)
    }

    fn marks(&self, seed: u64, told: Told<'_>) -> Result<Option<Marks>, Failure> {
        self.model.marks(&self.held_out, seed, told)
    }
}
