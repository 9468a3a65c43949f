//! The decoder-only language model: rotary positions, shared key heads, SwiGLU.
//!
//! Follows Llama, Qwen2 and Qwen3 and keeps their tensor names. Rows of a batch are padded on the left, so that what is
//! asked of a sequence (the answer, the image queries) is always its last positions; the last layer computes
//! only those.

use burn::module::{Module, Param, ParamId};
use burn::nn::Linear;
use burn::tensor::Tensor;
use burn::tensor::module::linear;

use super::layers::{Beside, FeedForward, Heads, Norm, Projections, Sight};
use super::weights::{Init, Loader, WeightError};
use crate::config::language::{Family, LanguageConfig};
use crate::lora::{LoraEmbedding, LoraLinear, computed};

/// Token embeddings, decoder layers, final norm, output head.
#[derive(Module, Debug)]
pub struct Language {
    embed_tokens: LoraEmbedding,
    layers: Vec<Layer>,
    norm: Norm,
    /// None where the token embeddings are the output head too.
    head: Option<Linear>,
}

#[derive(Module, Debug)]
struct Layer {
    input_norm: Norm,
    projections: Projections,
    out: LoraLinear,
    feed_norm: Norm,
    feed_forward: FeedForward,
}

/// Who may look at whom in a left-padded batch, and which last positions are wanted.
pub struct Reading {
    sight: Sight,
    last: usize,
}

impl Reading {
    /// A batch of rows of `length` positions, row `i` starting with `padding[i]` positions nobody may read.
    ///
    /// `last` positions of each row are wanted from the last layer.
    pub fn new(padding: &[usize], length: usize, last: usize, config: &LanguageConfig) -> Reading {
        let sight = Sight::backward(padding, length, config.head_dim, config.rope_theta);
        Reading { sight, last }
    }
}

impl Language {
    /// Loads the tensors below `model.`, and `lm_head`.
    pub fn load(loader: &mut Loader, config: &LanguageConfig) -> Result<Language, WeightError> {
        let width = config.hidden_size;
        // Rows of norm about one: held-out words keep these rows, and trained rows end near that norm.
        let rows = Init::Normal((1.0 / width as f32).sqrt());
        let embed_tokens =
            loader.lora_embedding("model.embed_tokens", [config.vocab_size, width], rows)?;
        let mut layers = Vec::new();
        for index in 0..config.num_hidden_layers {
            layers.push(Layer::load(loader, &format!("model.layers.{index}"), config)?);
        }
        let norm = Norm::with_epsilon(loader, "model.norm", width, config.rms_norm_eps)?;
        let head = match config.tie_word_embeddings {
            true => None,
            false => Some(loader.linear("lm_head", [width, config.vocab_size], false)?),
        };
        Ok(Language { embed_tokens, layers, norm, head })
    }

    /// The rows that tokens are read as: `[vocabulary, width]`.
    pub fn table(&self) -> Tensor<2> {
        self.embed_tokens.table()
    }

    /// Sets what a strategy added to those rows; the output head stays.
    pub fn shift_tokens(&mut self, rows: Option<Tensor<2>>) {
        let shift =
            |rows: Tensor<2>| Param::initialized(ParamId::new(), rows).set_require_grad(false);
        self.embed_tokens.shift = rows.map(shift);
    }

    /// The hidden states of the wanted last positions, after the final norm.
    ///
    /// # Shapes
    /// - embeddings: `[batch, length, width]`
    /// - output: `[batch, last, width]`
    pub fn forward(
        &self,
        embeddings: Tensor<3>,
        reading: &Reading,
        config: &LanguageConfig,
    ) -> Tensor<3> {
        let heads = language_heads(config);
        let mut x = embeddings;
        for (index, layer) in self.layers.iter().enumerate() {
            let is_last = index + 1 == self.layers.len();
            x = layer.forward(x, reading, heads, is_last);
        }
        self.norm.forward(x)
    }

    /// The logits over the vocabulary.
    ///
    /// # Shapes
    /// - hidden: `[batch, width]`
    /// - output: `[batch, vocabulary]`
    pub fn logits(&self, hidden: Tensor<2>) -> Tensor<2> {
        let weight = match &self.head {
            Some(head) => computed(head.weight.val()),
            None => computed(self.embed_tokens.base.val()).transpose(),
        };
        linear(hidden, weight, None)
    }
}

impl Layer {
    fn load(
        loader: &mut Loader,
        path: &str,
        config: &LanguageConfig,
    ) -> Result<Layer, WeightError> {
        let (width, epsilon) = (config.hidden_size, config.rms_norm_eps);
        let heads = language_heads(config);
        let beside = match config.family {
            Family::Llama => Beside::Nothing,
            Family::Qwen2 => Beside::Bias,
            Family::Qwen3 => {
                let paths = ["q_norm", "k_norm"].map(|name| format!("{path}.self_attn.{name}"));
                Beside::HeadNorms(paths, epsilon)
            }
        };
        let mut norm =
            |name: &str| Norm::with_epsilon(loader, &format!("{path}.{name}"), width, epsilon);
        let input_norm = norm("input_layernorm")?;
        let feed_norm = norm("post_attention_layernorm")?;
        let attention =
            ["q_proj", "k_proj", "v_proj"].map(|name| format!("{path}.self_attn.{name}"));
        let feed = ["gate_proj", "up_proj", "down_proj"].map(|name| format!("{path}.mlp.{name}"));
        Ok(Layer {
            input_norm,
            projections: Projections::beside(loader, attention, width, (heads, beside))?,
            out: loader.lora_linear(
                &format!("{path}.self_attn.o_proj"),
                [heads.count * heads.width, width],
            )?,
            feed_norm,
            feed_forward: FeedForward::load(loader, feed, [width, config.intermediate_size])?,
        })
    }

    fn forward(&self, x: Tensor<3>, reading: &Reading, heads: Heads, is_last: bool) -> Tensor<3> {
        let length = x.dims()[1];
        let rows = if is_last { reading.last } else { length };
        let h = self.input_norm.forward(x.clone());
        let queried = h.clone().narrow(1, length - rows, rows);
        let attended = self.projections.attend(queried, h, heads, &reading.sight);
        let attended = self.out.forward(attended);
        let x = x.narrow(1, length - rows, rows).add(attended);
        let h = self.feed_norm.forward(x.clone());
        x.add(self.feed_forward.forward(h))
    }
}

fn language_heads(config: &LanguageConfig) -> Heads {
    Heads {
        count: config.num_attention_heads,
        shared: config.num_key_value_heads,
        width: config.head_dim,
    }
}
