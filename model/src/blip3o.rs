//! BLIP3o's two released models as sizes and names: what their files hold, and what an adapter of them weighs.
//!
//! From configuration alone; nothing here is computed with. Sizes and names follow the released configuration files
//! and the checkpoint layout of BLIP3o-Model-4B and -8B.

use crate::config::language::{Family, LanguageConfig};

/// The language model of BLIP3o-Model-4B: Qwen2.5-VL-3B's with three added tokens.
pub fn language_4b() -> LanguageConfig {
    LanguageConfig {
        family: Family::Qwen2,
        vocab_size: VOCABULARY,
        hidden_size: 2048,
        intermediate_size: 11008,
        num_hidden_layers: 36,
        num_attention_heads: 16,
        num_key_value_heads: 2,
        head_dim: 128,
        rope_theta: 1_000_000,
        rms_norm_eps: 1e-6,
        tie_word_embeddings: true,
    }
}

/// The language model of BLIP3o-Model-8B: Qwen2.5-VL-7B's with three added tokens.
pub fn language_8b() -> LanguageConfig {
    LanguageConfig {
        hidden_size: 3584,
        intermediate_size: 18944,
        num_hidden_layers: 28,
        num_attention_heads: 28,
        num_key_value_heads: 4,
        tie_word_embeddings: false,
        ..language_4b()
    }
}

/// The name and shape of every tensor of a BLIP3o model with this language model. The tower that makes training
/// targets and the pixel decoder have files of their own.
pub fn tensors(language: &LanguageConfig) -> Vec<(String, Vec<usize>)> {
    let width = language.hidden_size;
    let mut tensors = language.tensors();
    tensors.push(("model.latent_queries".to_owned(), vec![1, QUERIES, width]));
    tensors.extend(vision(width));
    tensors.extend(diffusion(width));
    tensors
}

/// The vision encoder of Qwen2.5-VL and its merger into a language model of `width`.
fn vision(width: usize) -> Vec<(String, Vec<usize>)> {
    const WIDTH: usize = 1280;
    const INNER: usize = 3420;
    let mut list = Names::below("visual");
    list.add("patch_embed.proj.weight", &[WIDTH, 3, 2, 14, 14]);
    for layer in 0..32 {
        let mut block = Names::below(&format!("visual.blocks.{layer}"));
        block.add("norm1.weight", &[WIDTH]);
        block.add("norm2.weight", &[WIDTH]);
        block.linear("attn.qkv", [WIDTH, 3 * WIDTH]);
        block.linear("attn.proj", [WIDTH, WIDTH]);
        block.linear("mlp.gate_proj", [WIDTH, INNER]);
        block.linear("mlp.up_proj", [WIDTH, INNER]);
        block.linear("mlp.down_proj", [INNER, WIDTH]);
        list.tensors.extend(block.tensors);
    }
    list.add("merger.ln_q.weight", &[WIDTH]);
    list.linear("merger.mlp.0", [4 * WIDTH, 4 * WIDTH]);
    list.linear("merger.mlp.2", [4 * WIDTH, width]);
    list.tensors
}

/// The diffusion transformer (Lumina-Next), conditioned on a language model of `width`.
fn diffusion(width: usize) -> Vec<(String, Vec<usize>)> {
    let mut list = Names::below("model.dit.model");
    list.linear("patch_embedder.proj", [DIT, DIT]);
    list.linear("caption_projection.linear_1", [width, DIT]);
    list.linear("caption_projection.linear_2", [DIT, DIT]);
    list.linear("time_caption_embed.timestep_embedder.linear_1", [256, TIME]);
    list.linear("time_caption_embed.timestep_embedder.linear_2", [TIME, TIME]);
    list.add("time_caption_embed.caption_embedder.0.weight", &[DIT]);
    list.add("time_caption_embed.caption_embedder.0.bias", &[DIT]);
    list.linear("time_caption_embed.caption_embedder.1", [DIT, TIME]);
    for layer in 0..24 {
        list.tensors.extend(block(layer));
    }
    list.linear("norm_out.linear_1", [TIME, DIT]);
    list.linear("norm_out.linear_2", [DIT, DIT]);
    list.tensors
}

fn block(layer: usize) -> Vec<(String, Vec<usize>)> {
    const INNER: usize = 4864;
    let mut list = Names::below(&format!("model.dit.model.layers.{layer}"));
    list.add("gate", &[28]);
    for attention in ["attn1", "attn2"] {
        for map in ["to_q", "to_k", "to_v"] {
            list.add(&format!("{attention}.{map}.weight"), &[DIT, DIT]);
        }
        for norm in ["norm_q", "norm_k"] {
            list.add(&format!("{attention}.{norm}.weight"), &[DIT]);
            list.add(&format!("{attention}.{norm}.bias"), &[DIT]);
        }
    }
    list.add("attn2.to_out.0.weight", &[DIT, DIT]);
    list.add("feed_forward.linear_1.weight", &[INNER, DIT]);
    list.add("feed_forward.linear_2.weight", &[DIT, INNER]);
    list.add("feed_forward.linear_3.weight", &[INNER, DIT]);
    list.linear("norm1.linear", [TIME, 4 * DIT]);
    for norm in ["norm1.norm", "norm1_context", "norm2", "ffn_norm1", "ffn_norm2"] {
        list.add(&format!("{norm}.weight"), &[DIT]);
    }
    list.tensors
}

/// Tensors below one path.
struct Names {
    path: String,
    tensors: Vec<(String, Vec<usize>)>,
}

impl Names {
    fn below(path: &str) -> Names {
        Names { path: path.to_owned(), tensors: Vec::new() }
    }

    fn add(&mut self, name: &str, shape: &[usize]) {
        self.tensors.push((format!("{}.{name}", self.path), shape.to_vec()));
    }

    fn linear(&mut self, name: &str, [inputs, outputs]: [usize; 2]) {
        self.add(&format!("{name}.weight"), &[outputs, inputs]);
        self.add(&format!("{name}.bias"), &[outputs]);
    }
}

const VOCABULARY: usize = 151_668;
const QUERIES: usize = 64;
/// Width of the diffusion transformer, and of the features it makes.
const DIT: usize = 1792;
/// Width of the time embedding.
const TIME: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_models_have_the_size_they_are_named_for() {
        let millions = |tensors: Vec<(String, Vec<usize>)>| {
            let count: usize = tensors.iter().map(|it| it.1.iter().product::<usize>()).sum();
            count / 1_000_000
        };
        // The paper trains 1.4 billion numbers of the 8B model: its diffusion transformer and queries.
        assert_eq!(millions(diffusion(3584)), 1_365);
        assert_eq!(millions(tensors(&language_4b())), 5_116);
        assert_eq!(millions(tensors(&language_8b())), 9_654);
    }
}
