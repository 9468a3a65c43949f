//! The model that a spec names, opened once it is clear that it can learn from the spec's data.

use witan_home::Failure;
use witan_node::jobs::device;
use witan_node::jobs::foundation::Foundation;
use witan_node::jobs::shard::{self, Taught};
use witan_node::jobs::tower::FOLDER;

use crate::spec::Spec;

/// A model, and what of a spec's data it cannot learn.
pub struct Opened {
    /// The model; it is not loaded.
    pub foundation: Foundation,
    /// Members that have nothing to train on.
    pub idle: Vec<usize>,
    /// What is left out of every member's data, in words.
    pub left_out: Option<String>,
}

impl Opened {
    /// Checks all of a spec that only model and data can say.
    ///
    /// # Errors
    /// If device, model, strategy, layers or data do not fit together, or there is nothing to
    /// learn.
    pub fn of(spec: &Spec) -> Result<Self, Failure> {
        let learning = &spec.learning;
        device::open(learning.device)?;
        let foundation = Foundation::open(learning.model.as_deref())?;
        foundation.takes(spec.exchange.strategy)?;
        foundation.has_layers(&learning.lora.of(foundation.lora()))?;
        let data = spec.data(0);
        let idle = shard::check(&data, foundation.words().as_ref())?;
        let Taught { questions, captions } = foundation.taught(&data)?;
        if !(questions && learning.batch_questions > 0 || captions && learning.batch_captions > 0) {
            let message = format!("{data} has nothing that these steps can teach");
            return Err(Failure::input(message).hint(foundation.what_can_be_taught()));
        }
        let are_wanted = learning.batch_captions > 0 && !foundation.draws()?;
        let left_out = (are_wanted && Taught::of(&data, None)?.captions).then(|| {
            format!("captions are left out: the checkpoint has no {FOLDER} to make their targets")
        });
        Ok(Self { foundation, idle, left_out })
    }
}
