//! The decoder-only language model: rotary positions, shared key heads, SwiGLU.
//!
//! Follows Llama, Qwen2 and Qwen3 and keeps their tensor names. Rows of a batch are padded on the
//! left, so that what is asked of a sequence (the answer, the image queries) is always its last
//! positions; the last layer computes only those.

pub mod causal;
pub mod config;
pub mod losses;
mod recompute;
pub mod rows;

use burn::module::{Module, Param, ParamId};
use burn::tensor::Tensor;
use witan_adapter::fresh::Init;
use witan_adapter::tensors::WeightError;

use crate::families::language::config::{Family, LanguageConfig};
use crate::families::language::rows::Rows;
use crate::kernels::{HeadLayout, frequency, head_loss};
use crate::layers::frozen::Frozen;
use crate::layers::loader::{Listed, Loader};
use crate::layers::lora::LoraEmbedding;
use crate::layers::transformer::{
    AttentionMask, Beside, Heads, Layer, LayerCache, LayerNames, LayerSizes, Norm,
};
use crate::precision::Precision;
pub use recompute::{Activations, Task};

/// Token embeddings, decoder layers, final norm, output head.
#[derive(Module, Debug)]
pub struct Language {
    embed_tokens: LoraEmbedding,
    layers: Vec<Layer>,
    norm: Norm,
    /// None where the token embeddings are the output head too.
    head: Option<Frozen>,
    #[module(skip)]
    precision: Precision,
}

/// The KV cache of a batch: what was read of it is not computed again.
#[derive(Debug, Default)]
pub struct KvCache {
    layers: Vec<LayerCache>,
    /// Positions of every row that were read.
    length: usize,
}

/// The attention mask of a left-padded batch, and which last positions are wanted.
struct Reading {
    mask: AttentionMask,
    last: usize,
}

impl Reading {
    /// Positions follow each other, unless the rows tell their places. The first `read` are cached.
    fn new(rows: &Rows, read: usize, last: usize, config: &LanguageConfig) -> Reading {
        let Rows { padding, length, places, .. } = rows;
        let looking = read..*length;
        let Some(places) = places else {
            let mask = AttentionMask::causal(padding, looking, config.head_dim, config.rope_theta);
            return Reading { mask, last };
        };
        let (theta, half) = (f64::from(config.rope_theta), config.head_dim / 2);
        // Qwen2.5-VL's: the first pairs of channels rotate by time, the next by row, then column.
        let [time, down, _] = config.mrope_section.unwrap_or([half, 0, 0]);
        let axis = |pair: usize| usize::from(pair >= time) + usize::from(pair >= time + down);
        let angle = |[row, position, pair]: [usize; 3]| match position.checked_sub(padding[row]) {
            Some(at) => f64::from(places[row][at][axis(pair)]) * frequency(theta, pair, half),
            None => 0.0,
        };
        let mask = AttentionMask::causal_with_angles(padding, looking, config.head_dim, angle);
        Reading { mask, last }
    }
}

impl Language {
    /// The name and shape of every tensor, as Hugging Face has them.
    pub fn tensors(config: &LanguageConfig) -> Vec<(String, Vec<usize>)> {
        Language::listed(config).tensors
    }

    pub(crate) fn listed(config: &LanguageConfig) -> Listed {
        Loader::list(|loader| Language::load(loader, config).map(drop))
    }

    /// Loads the tensors below `model.`, and `lm_head`.
    pub fn load(loader: &mut Loader, config: &LanguageConfig) -> Result<Language, WeightError> {
        let width = config.hidden_size;
        // Rows of norm about one, near which trained rows end: held-out words keep these.
        let rows = Init::Normal((1.0 / width as f32).sqrt());
        let embed_tokens =
            loader.lora_embedding("model.embed_tokens", [config.vocab_size, width], rows)?;
        let mut layers = Vec::new();
        for index in 0..config.num_hidden_layers {
            let path = format!("model.layers.{index}");
            layers.push(Layer::load(loader, &path, &NAMES, config.layer(&path))?);
        }
        let norm = Norm::load(loader, "model.norm", width, config.rms_norm_eps)?;
        let head = match config.tie_word_embeddings {
            true => None,
            false => Some(loader.linear("lm_head", [width, config.vocab_size], false)?),
        };
        Ok(Language { embed_tokens, layers, norm, head, precision: loader.precision() })
    }

    /// Sets what a strategy added to those rows; the output head stays.
    pub fn shift_tokens(&mut self, rows: Option<Tensor<2>>) {
        let shift =
            |rows: Tensor<2>| Param::initialized(ParamId::new(), rows).set_require_grad(false);
        self.embed_tokens.shift = rows.map(shift);
    }

    /// The rows that tokens are read as: `[vocabulary, width]`.
    #[cfg(test)]
    pub(super) fn table(&self) -> Tensor<2> {
        self.embed_tokens.table()
    }

    /// The hidden states of the last `last` positions of every row, after the final norm.
    ///
    /// # Shapes
    /// - extra: `[slots above the vocabulary, width]`
    /// - output: `[batch, last, width]`
    pub fn read(
        &self,
        extra: Option<Tensor<2>>,
        rows: &Rows,
        last: usize,
        config: &LanguageConfig,
    ) -> Tensor<3> {
        let reading = Reading::new(rows, 0, last, config);
        let mut x = self.embedded(extra, rows, config);
        for index in 0..self.layers.len() {
            x = self.layer(index, x, (&reading, None), config);
        }
        self.norm.forward(x)
    }

    /// The same of rows that go on where the cache ends, and extend it; `last` new positions.
    ///
    /// Panics unless every row has become longer, and by as much.
    fn read_on(&self, cache: &mut KvCache, task: Task<'_>) -> Tensor<3> {
        let Task { extra, rows, last, config } = task;
        let reading = Reading::new(rows, cache.length, last, config);
        let mut x = self.embedded(extra, &rows.after(cache.length), config);
        cache.layers.resize_with(self.layers.len(), LayerCache::default);
        for (index, cache) in cache.layers.iter_mut().enumerate() {
            x = self.layer(index, x, (&reading, Some(cache)), config);
        }
        cache.length = rows.length;
        self.norm.forward(x)
    }

    /// The logits of what follows rows that go on where the cache ends, and extend it.
    ///
    /// Panics as [`Language::read_on`] does, or if more than the last position is asked for.
    ///
    /// # Shapes
    /// - output: `[batch, vocabulary]`
    pub fn next_logits(&self, cache: &mut KvCache, task: Task<'_>) -> Tensor<2> {
        self.logits(self.read_on(cache, task).squeeze_dim(1))
    }

    fn embedded(
        &self,
        extra: Option<Tensor<2>>,
        rows: &Rows,
        config: &LanguageConfig,
    ) -> Tensor<3> {
        let [batch, length] = rows.shape();
        let embedded = self.embed_tokens.look_up(&rows.slots, extra);
        embedded.reshape([batch, length, config.hidden_size])
    }

    fn layer(
        &self,
        index: usize,
        x: Tensor<3>,
        (reading, cache): (&Reading, Option<&mut LayerCache>),
        config: &LanguageConfig,
    ) -> Tensor<3> {
        let is_last = index + 1 == self.layers.len();
        let rows = if is_last { reading.last } else { x.dims()[1] };
        self.layers[index].forward(x, rows, config.heads(), (&reading.mask, cache))
    }

    /// The logits over the vocabulary.
    ///
    /// # Shapes
    /// - hidden: `[batch, width]`
    /// - output: `[batch, vocabulary]`
    pub fn logits(&self, hidden: Tensor<2>) -> Tensor<2> {
        let head = match self.head() {
            (head, HeadLayout::Rows) => head.transpose(),
            (head, HeadLayout::Columns) => head,
        };
        self.precision.frozen(hidden, head)
    }

    /// The mean cross-entropy of the token that follows each state.
    ///
    /// # Shapes
    /// - hidden: `[batch, width]`
    /// - tokens: `batch` token ids
    pub fn loss(&self, hidden: Tensor<2>, tokens: &[u32]) -> Tensor<1> {
        let (head, layout) = self.head();
        head_loss(hidden, head, layout, tokens, self.precision)
    }

    fn head(&self) -> (Tensor<2>, HeadLayout) {
        match &self.head {
            Some(head) => (head.weight.val(), HeadLayout::Columns),
            None => (self.embed_tokens.base.val(), HeadLayout::Rows),
        }
    }
}

impl LanguageConfig {
    fn layer(&self, path: &str) -> LayerSizes {
        let beside = match self.family {
            Family::Llama => Beside::Nothing,
            Family::Qwen2 => Beside::Bias,
            Family::Qwen3 => {
                let paths = ["q_norm", "k_norm"].map(|name| format!("{path}.self_attn.{name}"));
                Beside::HeadNorms(paths, self.rms_norm_eps)
            }
        };
        LayerSizes {
            width: self.hidden_size,
            inner: self.intermediate_size,
            heads: self.heads(),
            beside,
            epsilon: self.rms_norm_eps,
        }
    }

    fn heads(&self) -> Heads {
        Heads {
            count: self.num_attention_heads,
            shared: self.num_key_value_heads,
            width: self.head_dim,
        }
    }
}

const NAMES: LayerNames = LayerNames {
    attention_norm: "input_layernorm",
    attention: ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
    out: "self_attn.o_proj",
    feed_norm: "post_attention_layernorm",
    feed: ["mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"],
};
