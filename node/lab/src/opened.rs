//! The model that a spec names, opened once it is clear that it can learn from the spec's data.

use std::sync::Arc;

use witan_data::source::Teachable;
use witan_home::Failure;
use witan_home::aggregation::strategy_of;
use witan_model::device;
use witan_model::trainable::{self, BaseModel, TOWER_FOLDER};

use crate::spec::Spec;

/// A model, and what of a spec's data it cannot learn.
pub(crate) struct Opened {
    /// The model; it is not loaded.
    pub base: Arc<dyn BaseModel>,
    /// Members that have nothing to train on.
    pub idle: Vec<usize>,
    /// What is left out of every member's data, in words.
    pub left_out: Option<String>,
}

impl Opened {
    /// Checks all of a spec that only model and data can say.
    pub(crate) fn of(spec: &Spec) -> Result<Self, Failure> {
        let learning = &spec.learning;
        device::open(learning.device)?;
        let base = trainable::open(learning.model.as_deref())?;
        base.check_strategy(&strategy_of(spec.exchange.strategy))?;
        base.check_targets(&learning.lora.of(base.lora()))?;
        let data = spec.data(0);
        let idle = data.check(base.words())?;
        let Teachable { questions, captions } = base.teachable(&data)?;
        if !(questions && learning.batch_questions > 0 || captions && learning.batch_captions > 0) {
            let message = format!("{data} has nothing that these steps can teach");
            return Err(Failure::input(message).hint(base.teaching_hint()));
        }
        let are_wanted = learning.batch_captions > 0 && !base.learns_captions()?;
        let left_out = (are_wanted && data.teachable(None)?.captions).then(|| {
            format!(
                "captions are left out: the checkpoint has no {TOWER_FOLDER} to make their targets"
            )
        });
        Ok(Self { base, idle, left_out })
    }
}
