//! What training asks of a model with an adapter: one loop trains every family.

use burn::module::Module;
use burn_optim::GradientsParams;

use crate::families::trunk::flow::Noise;
use crate::families::trunk::variant::Variant;
use crate::layers::adapted::Adapted;

/// A model with an adapter, as training sees it.
pub trait LoraModel: Send {
    /// Its weights.
    type Network: Module;
    /// A member's data as it reads them.
    type Shard: Sync;

    /// The network, with its adapter in.
    fn adapted(&self) -> &Adapted<Self::Network>;

    /// The same, to be changed.
    fn adapted_mut(&mut self) -> &mut Adapted<Self::Network>;

    /// The examples of a shard that can be trained on.
    fn examples(&self, shard: &Self::Shard) -> Examples;

    /// The losses of a batch; its gradients go to `accumulate`, at once or in parts.
    ///
    /// # Errors
    /// If an example cannot be read any more.
    fn backward(
        &self,
        shard: &Self::Shard,
        batch: Batch,
        accumulate: &mut dyn FnMut(GradientsParams),
    ) -> Result<Losses, Unreadable>;
}

/// An example could be read once and cannot be any more.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(pub String);

/// The examples of a shard that can be trained on.
#[derive(Clone, Debug)]
pub struct Examples {
    /// Which of its questions.
    pub questions: Vec<usize>,
    /// How many captions it has.
    pub captions: usize,
    /// The family's: how the targets of drawings are noised, how often a caption's.
    pub variant: &'static Variant,
    /// Numbers of one target.
    pub target: usize,
}

/// Examples of one batch, by their places in the shard.
pub struct Batch {
    /// Questions.
    pub questions: Vec<usize>,
    /// Captions.
    pub captions: Vec<usize>,
    /// The noise of the captions' targets.
    pub noise: Noise,
}

/// The losses of a batch; none of what it has not.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Losses {
    /// Mean cross-entropy of the answers.
    pub answer: Option<f32>,
    /// Flow-matching loss of the drawings.
    pub flow: Option<f32>,
}

impl Losses {
    /// What is trained down.
    pub fn sum(&self) -> f32 {
        self.answer.unwrap_or(0.0) + self.flow.unwrap_or(0.0)
    }
}
