//! One training of whichever model, with its state kept on the way.

use std::ops::ControlFlow;

use witan_data::fault::Fault;

use super::{Next, TrainObserver, TrainTask};
use crate::families::lora_model::LoraModel;
use crate::train::{Trained, TrainingRun};

/// Trains to the end of the plan.
///
/// # Errors
/// What [`Trainable::train`] says.
///
/// [`Trainable::train`]: super::Trainable::train
pub(super) fn train<M: LoraModel>(
    model: &mut M,
    data: &M::Shard,
    task: &TrainTask<'_>,
    observer: &mut dyn TrainObserver,
) -> Result<Trained, Fault> {
    let mut run = TrainingRun::begin(model, task.start, data, task.plan).map_err(Fault::input)?;
    if let Some(paused) = task.paused.clone() {
        run = run.resume(model, paused).map_err(Fault::input)?;
    }
    loop {
        let mut next = Next::Step;
        let ran = run.run(model, data, &mut |step| {
            next = observer.on_step(step);
            match next {
                Next::Step => ControlFlow::Continue(()),
                Next::Keep | Next::Stop => ControlFlow::Break(()),
            }
        });
        observer.keep(&|| run.state(model))?;
        ran.map_err(Fault::input)?;
        if let Some(trained) = run.trained(model) {
            return Ok(trained);
        }
        if next == Next::Stop {
            return Err(Fault::stopped());
        }
    }
}
