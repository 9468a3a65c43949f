//! What a low-rank adapter is made of, in the terms of PEFT's `LoraConfig`.

use serde::{Deserialize, Serialize};

/// What a low-rank adapter is made of; every member of a federation uses the same one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoraConfig {
    /// Rank of the update B·A of each adapted matrix. Default 8.
    pub rank: usize,
    /// The update is scaled by `alpha / rank`. Default 16.
    pub alpha: f64,
    /// Share of adapter inputs dropped while training. Default 0: shards are small and steps few.
    pub dropout: f64,
    /// Adapted layers: a linear layer, or the token embeddings, whose path ends with one of these
    /// names.
    pub targets: Vec<String>,
}

impl Default for LoraConfig {
    fn default() -> LoraConfig {
        let targets = [
            "embed_tokens",
            "q_proj",
            "k_proj",
            "v_proj",
            "o_proj",
            "gate_proj",
            "up_proj",
            "down_proj",
            "to_q",
            "to_k",
            "to_v",
            "to_out",
        ];
        LoraConfig {
            rank: 8,
            alpha: 16.0,
            dropout: 0.0,
            targets: targets.map(String::from).to_vec(),
        }
    }
}

impl LoraConfig {
    /// Whether the layer at `path` carries an adapter.
    pub fn adapts(&self, path: &str) -> bool {
        self.targets.iter().any(|target| {
            path.strip_suffix(target.as_str())
                .is_some_and(|head| head.is_empty() || head.ends_with('.'))
        })
    }

    /// The factor `alpha / rank` in front of B·A.
    pub fn scale(&self) -> f64 {
        self.alpha / self.rank as f64
    }
}
