//! Sizes of a language model of the Llama and Qwen families, from Hugging Face's `config.json`.
//!
//! What the file asks for and this program does not compute is refused by name, and so is a value
//! of the wrong kind: a key that is absent or null has its default, never one that cannot be read.
//! Keys that change nothing here (token ids, generation settings, the number format) are ignored.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

/// Sizes of a language model: RMSNorm, rotary positions, shared key heads, SwiGLU.
#[derive(Clone, Debug, PartialEq)]
pub struct LanguageConfig {
    /// What the attention layers have beside their matrices.
    pub family: Family,
    /// Rows of the token embedding.
    pub vocab_size: usize,
    /// Width.
    pub hidden_size: usize,
    /// Inner width of the SwiGLU.
    pub intermediate_size: usize,
    /// Decoder layers.
    pub num_hidden_layers: usize,
    /// Query heads.
    pub num_attention_heads: usize,
    /// Key and value heads, shared by groups of query heads.
    pub num_key_value_heads: usize,
    /// Width of one head.
    pub head_dim: usize,
    /// Base of the rotary position angles.
    pub rope_theta: u32,
    /// Pairs of channels rotated by time, by row and by column, where positions have all three.
    pub mrope_section: Option<[usize; 3]>,
    /// Keeps the norms' division away from zero.
    pub rms_norm_eps: f64,
    /// Whether the output head is the token embedding.
    pub tie_word_embeddings: bool,
}

/// The families, by what their attention layers have beside their matrices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Nothing.
    Llama,
    /// A bias on queries, keys and values (Qwen2, Qwen2.5, and the language model of Qwen2.5-VL).
    Qwen2,
    /// A norm of every query and key head (Qwen3).
    Qwen3,
}

/// Why a `config.json` describes no language model that this program computes.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct LanguageConfigError(#[from] ConfigProblem);

#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigProblem {
    #[error("config.json is malformed: {0}")]
    Json(#[from] serde_json::Error),
    /// A key is of the wrong kind or out of range, or absent, which is `null`.
    #[error("config.json: {key} is {found}, expected {expected}")]
    Key { key: &'static str, found: Value, expected: &'static str },
    #[error(
        "config.json: vision_config.{key} is {found}, expected a number from {} to {}",
        possible.start(),
        possible.end()
    )]
    Vision { key: &'static str, found: Value, possible: RangeInclusive<usize> },
    #[error(
        "config.json: vision_config.hidden_size is {width}, expected a multiple of four times \
         num_heads, which is {heads}"
    )]
    VisionHeads { width: usize, heads: usize },
    #[error(
        "of a diffusion transformer of width {width}, {heads} heads cannot share keys of width \
         {keys}"
    )]
    Drawing { width: usize, heads: usize, keys: usize },
    #[error("config.json: {queries} query heads cannot share {keys} key heads")]
    Heads { queries: usize, keys: usize },
}

impl LanguageConfig {
    /// Reads `config.json`: of a language model, or the one inside Qwen2.5-VL or BLIP3o.
    pub fn from_hugging_face(bytes: &[u8]) -> Result<LanguageConfig, LanguageConfigError> {
        let whole: Map<String, Value> =
            serde_json::from_slice(bytes).map_err(ConfigProblem::Json)?;
        // Newer Qwen2.5-VL files have the language model's keys in a part of their own.
        let text = part(&whole, "text_config")?;
        let keys = Keys { whole: &whole, text };
        let family = keys.family()?;
        keys.refuse_what_is_not_computed(family)?;
        let heads = keys.positive("num_attention_heads")?;
        let shared = keys.positive_or("num_key_value_heads", heads)?;
        if !heads.is_multiple_of(shared) {
            return Err(ConfigProblem::Heads { queries: heads, keys: shared }.into());
        }
        let hidden_size = keys.positive("hidden_size")?;
        let head_dim = keys.head_dim(hidden_size / heads)?;
        Ok(LanguageConfig {
            family,
            vocab_size: keys.positive("vocab_size")?,
            hidden_size,
            intermediate_size: keys.positive("intermediate_size")?,
            num_hidden_layers: keys.layers()?,
            num_attention_heads: heads,
            num_key_value_heads: shared,
            head_dim,
            rope_theta: keys.rope_theta()?,
            mrope_section: keys.mrope_section(head_dim)?,
            rms_norm_eps: keys.epsilon()?,
            tie_word_embeddings: keys.is_on("tie_word_embeddings")?,
        })
    }
}

/// The keys of the file, those of the language model's own part first.
struct Keys<'a> {
    whole: &'a Map<String, Value>,
    text: Option<&'a Map<String, Value>>,
}

impl Keys<'_> {
    fn get(&self, key: &str) -> &Value {
        let own = self.text.and_then(|text| text.get(key));
        own.or_else(|| self.whole.get(key)).unwrap_or(&Value::Null)
    }

    fn is_on(&self, key: &'static str) -> Result<bool, ConfigProblem> {
        match self.get(key) {
            Value::Null => Ok(false),
            Value::Bool(on) => Ok(*on),
            _ => Err(self.unlike(key, "true or false")),
        }
    }

    fn epsilon(&self) -> Result<f64, ConfigProblem> {
        let key = "rms_norm_eps";
        match (self.get(key), self.get(key).as_f64()) {
            (Value::Null, _) => Ok(EPSILON),
            (_, Some(number)) if (EPSILON_MIN..=1.0).contains(&number) => Ok(number),
            _ => Err(self.unlike(key, "a number from 1e-12 to 1")),
        }
    }

    /// Channels are rotated in pairs.
    fn head_dim(&self, usual: usize) -> Result<usize, ConfigProblem> {
        let (key, expected) = ("head_dim", "an even number from 2");
        match self.positive_or(key, usual)? {
            width if width > 0 && width.is_multiple_of(2) => Ok(width),
            found => Err(ConfigProblem::Key { key, found: found.into(), expected }),
        }
    }

    fn positive(&self, key: &'static str) -> Result<usize, ConfigProblem> {
        match self.get(key).as_u64() {
            Some(number @ 1..=SIZE_MAX) => Ok(number as usize),
            _ => Err(self.unlike(key, "a number from 1 to 16777216")),
        }
    }

    fn layers(&self) -> Result<usize, ConfigProblem> {
        match self.positive("num_hidden_layers")? {
            count if count <= LAYERS_MAX => Ok(count),
            _ => Err(self.unlike("num_hidden_layers", "a number from 1 to 1024")),
        }
    }

    fn positive_or(&self, key: &'static str, usual: usize) -> Result<usize, ConfigProblem> {
        if self.get(key).is_null() { Ok(usual) } else { self.positive(key) }
    }

    fn family(&self) -> Result<Family, ConfigProblem> {
        // Not the language model's own, which is called otherwise in a part.
        let found = self.whole.get("model_type").unwrap_or(&Value::Null);
        match found.as_str().unwrap_or_default() {
            "llama" => Ok(Family::Llama),
            "qwen2" | "qwen2_5_vl" | "blip3o_qwen" => Ok(Family::Qwen2),
            "qwen3" => Ok(Family::Qwen3),
            _ => Err(ConfigProblem::Key {
                key: "model_type",
                found: found.clone(),
                expected: "llama, qwen2, qwen2_5_vl, qwen3 or blip3o_qwen",
            }),
        }
    }

    /// What one of the two keys of rotary positions says.
    fn rope(&self, key: &'static str, inner: &str) -> Result<&Value, ConfigProblem> {
        match self.get(key) {
            Value::Null => Ok(&Value::Null),
            Value::Object(own) => Ok(own.get(inner).unwrap_or(&Value::Null)),
            _ => Err(self.unlike(key, "an object")),
        }
    }

    fn rope_theta(&self) -> Result<u32, ConfigProblem> {
        let nested = self.rope("rope_parameters", "rope_theta")?;
        let theta = if nested.is_null() { self.get("rope_theta") } else { nested };
        match theta.as_f64() {
            None if theta.is_null() => Ok(10_000),
            Some(number)
                if (1.0..=f64::from(u32::MAX)).contains(&number) && number.fract() == 0.0 =>
            {
                Ok(number as u32)
            }
            _ => Err(ConfigProblem::Key {
                key: "rope_theta",
                found: theta.clone(),
                expected: "a whole number from 1",
            }),
        }
    }

    fn mrope_section(&self, head_dim: usize) -> Result<Option<[usize; 3]>, ConfigProblem> {
        let half = head_dim / 2;
        for key in ROPE {
            let section = self.rope(key, "mrope_section")?;
            if section.is_null() {
                continue;
            }
            let section = serde_json::from_value::<[usize; 3]>(section.clone()).ok();
            let section = section.filter(|it| it.iter().all(|pairs| *pairs <= half));
            return match section.filter(|it| it.iter().sum::<usize>() == half) {
                Some(section) => Ok(Some(section)),
                None => {
                    Err(self.unlike(key, "an mrope_section of three numbers, half a head in all"))
                }
            };
        }
        Ok(None)
    }

    fn refuse_what_is_not_computed(&self, family: Family) -> Result<(), ConfigProblem> {
        let act = self.get("hidden_act");
        if !act.is_null() && act != "silu" {
            return Err(self.unlike("hidden_act", "silu"));
        }
        // Qwen2's biases are always there, whatever the file says.
        let biased = self.is_on("attention_bias")? && family != Family::Qwen2;
        for (key, on) in [
            ("attention_bias", biased),
            ("mlp_bias", self.is_on("mlp_bias")?),
            ("use_sliding_window", self.is_on("use_sliding_window")?),
        ] {
            if on {
                return Err(self.unlike(key, "false"));
            }
        }
        for key in ROPE {
            for kind in [self.rope(key, "rope_type")?, self.rope(key, "type")?] {
                // Of text alone, all three of mRoPE's positions are the same.
                if !(kind.is_null() || kind == "default" || kind == "mrope") {
                    return Err(self.unlike(key, "unscaled positions"));
                }
            }
        }
        Ok(())
    }

    fn unlike(&self, key: &'static str, expected: &'static str) -> ConfigProblem {
        ConfigProblem::Key { key, found: self.get(key).clone(), expected }
    }
}

/// The part of the file under a key; none if it is absent or null.
pub(crate) fn part<'a>(
    whole: &'a Map<String, Value>,
    key: &'static str,
) -> Result<Option<&'a Map<String, Value>>, ConfigProblem> {
    match whole.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(part)) => Ok(Some(part)),
        Some(found) => {
            let found = found.clone();
            Err(ConfigProblem::Key { key, found, expected: "an object" })
        }
    }
}

/// The number under a key, `usual` if it is absent or null; otherwise what stands there.
pub(crate) fn number(
    part: &Map<String, Value>,
    key: &str,
    usual: usize,
    possible: &RangeInclusive<usize>,
) -> Result<usize, Value> {
    let found = part.get(key).filter(|found| !found.is_null()).cloned();
    let found = found.unwrap_or_else(|| usual.into());
    let number = found.as_u64().and_then(|number| usize::try_from(number).ok());
    number.filter(|number| possible.contains(number)).ok_or(found)
}

/// The keys of rotary positions, the newer last.
const ROPE: [&str; 2] = ["rope_scaling", "rope_parameters"];
/// Every family's, where the file does not say.
const EPSILON: f64 = 1e-6;
/// Far below any in use, and far above what is nothing in f32.
const EPSILON_MIN: f64 = 1e-12;
/// Above any width or vocabulary in use; the product of two is far below overflow.
const SIZE_MAX: u64 = 1 << 24;
/// Above any depth in use: the tensors of every layer are listed before a file is opened.
const LAYERS_MAX: usize = 1024;

#[cfg(test)]
mod tests;
