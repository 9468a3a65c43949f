//! The sizes of the embedded model, read from `config.json`.
//!
//! Decides no behaviour beyond sizes; holds no tensor. Keys follow BLIP3o's configuration where it
//! has one (`n_query`, `dit_*`), for readers who know that model.

use serde::{Deserialize, Serialize};

use super::cells::{MERGE, PICTURE_TOKENS};
use crate::families::language::config::{Family, LanguageConfig};
use crate::families::language::rows::Rows;
use crate::families::tiny::variant::PLAIN;
use crate::families::trunk::TrunkConfig;
use crate::families::trunk::diffusion::DiffusionConfig;
pub use witan_adapter::LoraConfig;

/// Sizes of a unified multimodal model: vision encoder, language model, diffusion transformer,
/// painter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// Name of the preset these sizes belong to.
    pub preset: String,
    /// Rows of the tied token embedding, at least the tokenizer's vocabulary.
    pub vocab_size: usize,
    /// Width of the vision encoder.
    pub vision_hidden_size: usize,
    /// Transformer blocks of the vision encoder.
    pub vision_layers: usize,
    /// Attention heads of the vision encoder.
    pub vision_heads: usize,
    /// Inner width of the vision encoder's feed-forward.
    pub vision_intermediate_size: usize,
    /// Width of the language model.
    pub hidden_size: usize,
    /// Decoder layers of the language model.
    pub num_hidden_layers: usize,
    /// Query heads of the language model.
    pub num_attention_heads: usize,
    /// Key and value heads of the language model, shared by groups of query heads.
    pub num_key_value_heads: usize,
    /// Inner width of the language model's SwiGLU.
    pub intermediate_size: usize,
    /// Base of the rotary position angles.
    pub rope_theta: u32,
    /// Learnable image queries appended to a prompt.
    pub n_query: usize,
    /// Width of the diffusion transformer.
    pub dit_hidden_size: usize,
    /// Blocks of the diffusion transformer.
    pub dit_layers: usize,
    /// Attention heads of the diffusion transformer.
    pub dit_heads: usize,
    /// Inner width of the diffusion transformer's SwiGLU.
    pub dit_intermediate_size: usize,
    /// Channels of one generated semantic cell.
    pub gen_channels: usize,
    /// Inner width of the painter.
    pub painter_hidden_size: usize,
}

impl ModelConfig {
    /// The embedded preset: about 2.2 million weights, 64 by 64 pixels, an 8 by 8 grid of cells.
    pub fn tiny(vocab_size: usize) -> ModelConfig {
        ModelConfig {
            preset: "tiny".into(),
            vocab_size,
            vision_hidden_size: 96,
            vision_layers: 2,
            vision_heads: 3,
            vision_intermediate_size: 256,
            hidden_size: 128,
            num_hidden_layers: 4,
            num_attention_heads: 4,
            num_key_value_heads: 2,
            intermediate_size: 352,
            rope_theta: 10_000,
            n_query: 16,
            dit_hidden_size: 128,
            dit_layers: 3,
            dit_heads: 4,
            dit_intermediate_size: 352,
            gen_channels: crate::families::tiny::cells::CHANNELS,
            painter_hidden_size: 48,
        }
    }
}

impl ModelConfig {
    /// The sizes of what it has in common with BLIP3o.
    pub fn trunk(&self) -> TrunkConfig {
        let diffusion = DiffusionConfig {
            path: "model.dit",
            variant: &PLAIN,
            places: PICTURE_TOKENS,
            channels: self.gen_channels * MERGE * MERGE,
            condition: self.hidden_size,
            hidden_size: self.dit_hidden_size,
            time: self.dit_hidden_size,
            layers: self.dit_layers,
            heads: self.dit_heads,
            keys: self.dit_hidden_size,
            intermediate_size: self.dit_intermediate_size,
        };
        TrunkConfig { language: self.language(), queries: self.n_query, diffusion }
    }

    /// Rows that read a picture, then a question that ends where the answer is due.
    pub fn question_rows(&self, questions: &[&[u32]]) -> Rows {
        Rows::behind_pictures(questions, self.vocab_size, PICTURE_TOKENS)
    }

    fn language(&self) -> LanguageConfig {
        LanguageConfig {
            family: Family::Llama,
            vocab_size: self.vocab_size,
            hidden_size: self.hidden_size,
            intermediate_size: self.intermediate_size,
            num_hidden_layers: self.num_hidden_layers,
            num_attention_heads: self.num_attention_heads,
            num_key_value_heads: self.num_key_value_heads,
            head_dim: self.hidden_size / self.num_attention_heads,
            rope_theta: self.rope_theta,
            mrope_section: None,
            rms_norm_eps: 1e-6,
            tie_word_embeddings: true,
        }
    }
}
