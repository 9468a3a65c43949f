//! What the unified models share: a language model, learnable image queries, and a diffusion
//! transformer conditioned on the language model's states at the queries.

pub mod diffusion;
pub mod flow;
pub mod variant;

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use witan_adapter::fresh::Init;
use witan_adapter::tensors::WeightError;

use crate::families::language::Language;
use crate::families::language::config::LanguageConfig;
use crate::families::language::rows::Rows;
use crate::families::trunk::diffusion::{Diffusion, DiffusionConfig};
use crate::layers::loader::Loader;

/// Sizes of a [`Trunk`].
#[derive(Clone, Debug, PartialEq)]
pub struct TrunkConfig {
    /// The language model's.
    pub language: LanguageConfig,
    /// Image queries appended to a prompt.
    pub queries: usize,
    /// The diffusion transformer's.
    pub diffusion: DiffusionConfig,
}

/// The weights as Burn modules.
#[derive(Module, Debug)]
pub struct Trunk {
    /// The language model.
    pub language: Language,
    /// The learnable image queries: `[queries, hidden]`.
    pub latent_queries: Param<Tensor<2>>,
    /// The flow-matching transformer.
    pub diffusion: Diffusion,
}

impl TrunkConfig {
    /// Rows of captions that end with the image queries.
    pub fn caption_rows(&self, captions: &[&[u32]]) -> Rows {
        Rows::before_queries(captions, self.language.vocab_size, self.queries)
    }
}

impl Trunk {
    /// Builds the trunk out of a loader's tensors.
    pub fn load(loader: &mut Loader, config: &TrunkConfig) -> Result<Trunk, WeightError> {
        let (name, width) = ("model.latent_queries", config.language.hidden_size);
        let language = Language::load(loader, &config.language)?;
        let (variant, queries) = (config.diffusion.variant, config.queries);
        let init = Init::Normal(variant.query_deviation);
        let latent_queries = match variant.has_query_batch {
            false => loader.tensor(name, [queries, width], init)?,
            true => {
                let batch = loader.tensor(name, [1, queries, width], init)?;
                let gradient = batch.is_require_grad();
                let rows = batch.val().flatten(0, 1).detach();
                Param::initialized(batch.id, rows).set_require_grad(gradient)
            }
        };
        Ok(Trunk {
            language,
            latent_queries,
            diffusion: Diffusion::load(loader, &config.diffusion)?,
        })
    }

    /// The logits of the answer's token.
    ///
    /// # Shapes
    /// - extra: `[slots above the vocabulary, hidden]`
    /// - output: `[batch, vocabulary]`
    pub fn answer_logits(&self, extra: Tensor<2>, rows: &Rows, config: &TrunkConfig) -> Tensor<2> {
        let logits = self.text_logits(extra, rows, 1, config);
        let [batch, _, words] = logits.dims();
        logits.reshape([batch, words])
    }

    /// The logits that follow each of the last `last` positions of every row.
    ///
    /// # Shapes
    /// - extra: `[slots above the vocabulary, hidden]`
    /// - output: `[batch, last, vocabulary]`
    pub fn text_logits(
        &self,
        extra: Tensor<2>,
        rows: &Rows,
        last: usize,
        config: &TrunkConfig,
    ) -> Tensor<3> {
        let hidden = self.language.read(Some(extra), rows, last, &config.language);
        let [batch, _, width] = hidden.dims();
        let logits = self.language.logits(hidden.reshape([batch * last, width]));
        logits.reshape([batch, last, config.language.vocab_size])
    }

    /// The hidden states at the image queries, which condition a drawing.
    ///
    /// # Shapes
    /// - output: `[batch, queries, hidden]`
    pub fn query_states(&self, rows: &Rows, config: &TrunkConfig) -> Tensor<3> {
        let queries = Some(self.latent_queries.val());
        self.language.read(queries, rows, config.queries, &config.language)
    }

    /// Where its weights lie; what is made there records gradients if they do.
    pub fn device(&self) -> Device {
        self.latent_queries.val().device()
    }
}
