//! Sizes of a decoder-only language model of the Llama and Qwen families, read from Hugging Face's `config.json`.
//!
//! What the file asks for and this program does not compute is refused by name. Keys that change nothing here (token
//! ids, generation settings, the number format) are passed over.

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
    /// How many pairs of channels are turned by time, by row and by column, where positions have all three.
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
pub enum LanguageConfigError {
    /// It is no JSON object, or one of its values has another form.
    #[error("config.json is malformed: {0}")]
    Json(#[source] serde_json::Error),
    /// A key is absent or of the wrong kind.
    #[error("config.json: {key} is {found}, expected {expected}")]
    Key {
        /// The key.
        key: &'static str,
        /// What it is: `null` if it is absent.
        found: Value,
        /// What it should be.
        expected: &'static str,
    },
    /// A size of the vision encoder that nothing can be computed with.
    #[error("config.json: vision_config.{key} is {found}, which is no size of a vision encoder")]
    Vision {
        /// The key.
        key: &'static str,
        /// What it is.
        found: usize,
    },
    /// Heads do not share out evenly.
    #[error("config.json: {queries} query heads cannot share {keys} key heads")]
    Heads {
        /// Query heads.
        queries: usize,
        /// Key heads.
        keys: usize,
    },
}

impl LanguageConfig {
    /// Reads `config.json`: of a language model, or of Qwen2.5-VL or BLIP3o, whose language model is then meant.
    pub fn from_hugging_face(bytes: &[u8]) -> Result<LanguageConfig, LanguageConfigError> {
        let whole: Map<String, Value> =
            serde_json::from_slice(bytes).map_err(LanguageConfigError::Json)?;
        // Newer Qwen2.5-VL files have the language model's keys in a part of their own.
        let text = whole.get("text_config").and_then(Value::as_object);
        let keys = Keys { whole: &whole, text };
        let family = keys.family()?;
        keys.refuse_what_is_not_computed(family)?;
        let heads = keys.positive("num_attention_heads")?;
        let shared = keys.positive_or("num_key_value_heads", heads)?;
        if !heads.is_multiple_of(shared) {
            return Err(LanguageConfigError::Heads { queries: heads, keys: shared });
        }
        let hidden_size = keys.positive("hidden_size")?;
        let head_dim = keys.positive_or("head_dim", hidden_size / heads)?;
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
            rms_norm_eps: keys.get("rms_norm_eps").as_f64().unwrap_or(1e-6),
            tie_word_embeddings: keys.is_on("tie_word_embeddings"),
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

    fn is_on(&self, key: &str) -> bool {
        self.get(key).as_bool().unwrap_or(false)
    }

    fn positive(&self, key: &'static str) -> Result<usize, LanguageConfigError> {
        match self.get(key).as_u64() {
            Some(number @ 1..=SIZE_MAX) => Ok(number as usize),
            _ => Err(self.unlike(key, "a number from 1 to 16777216")),
        }
    }

    fn layers(&self) -> Result<usize, LanguageConfigError> {
        match self.positive("num_hidden_layers")? {
            count if count <= LAYERS_MAX => Ok(count),
            _ => Err(self.unlike("num_hidden_layers", "a number from 1 to 1024")),
        }
    }

    fn positive_or(&self, key: &'static str, usual: usize) -> Result<usize, LanguageConfigError> {
        if self.get(key).is_null() { Ok(usual) } else { self.positive(key) }
    }

    fn family(&self) -> Result<Family, LanguageConfigError> {
        let whole = self.whole.get("model_type").and_then(Value::as_str);
        match whole.unwrap_or_default() {
            "llama" => Ok(Family::Llama),
            "qwen2" | "qwen2_5_vl" | "blip3o_qwen" => Ok(Family::Qwen2),
            "qwen3" => Ok(Family::Qwen3),
            _ => Err(self.unlike("model_type", "llama, qwen2, qwen2_5_vl, qwen3 or blip3o_qwen")),
        }
    }

    fn rope_theta(&self) -> Result<u32, LanguageConfigError> {
        let nested = &self.get("rope_parameters")["rope_theta"];
        let theta = if nested.is_null() { self.get("rope_theta") } else { nested };
        match theta.as_f64() {
            None if theta.is_null() => Ok(10_000),
            Some(number)
                if (1.0..=f64::from(u32::MAX)).contains(&number) && number.fract() == 0.0 =>
            {
                Ok(number as u32)
            }
            _ => Err(self.unlike("rope_theta", "a whole number from 1")),
        }
    }

    fn mrope_section(&self, head_dim: usize) -> Result<Option<[usize; 3]>, LanguageConfigError> {
        let given = ["rope_scaling", "rope_parameters"].map(|key| (key, self.get(key)));
        let given = given.map(|(key, value)| (key, &value["mrope_section"]));
        let Some((key, section)) = given.into_iter().find(|(_, section)| !section.is_null()) else {
            return Ok(None);
        };
        match serde_json::from_value::<[usize; 3]>(section.clone()) {
            Ok(section) if section.iter().sum::<usize>() == head_dim / 2 => Ok(Some(section)),
            _ => Err(self.unlike(key, "an mrope_section of three numbers, half a head in all")),
        }
    }

    fn refuse_what_is_not_computed(&self, family: Family) -> Result<(), LanguageConfigError> {
        let act = self.get("hidden_act");
        if !act.is_null() && act != "silu" {
            return Err(self.unlike("hidden_act", "silu"));
        }
        // Qwen2's biases are always there, whatever the file says.
        let biased = family != Family::Qwen2 && self.is_on("attention_bias");
        for (key, on) in [
            ("attention_bias", biased),
            ("mlp_bias", self.is_on("mlp_bias")),
            ("use_sliding_window", self.is_on("use_sliding_window")),
        ] {
            if on {
                return Err(self.unlike(key, "false"));
            }
        }
        for key in ["rope_scaling", "rope_parameters"] {
            let kind = [&self.get(key)["rope_type"], &self.get(key)["type"]];
            let kind = kind.into_iter().find_map(Value::as_str).unwrap_or("default");
            // Of text alone, all three of mRoPE's positions are the same.
            if !["default", "mrope"].contains(&kind) {
                return Err(self.unlike(key, "unscaled positions"));
            }
        }
        Ok(())
    }

    fn unlike(&self, key: &'static str, expected: &'static str) -> LanguageConfigError {
        LanguageConfigError::Key { key, found: self.get(key).clone(), expected }
    }
}

/// Above any width or vocabulary in use; the product of two is far below overflow.
const SIZE_MAX: u64 = 1 << 24;
/// Above any depth in use: the tensors of every layer are listed before a file is opened.
const LAYERS_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::umm::language::Language;
    use serde_json::json;

    fn read(config: Value) -> Result<LanguageConfig, String> {
        let bytes = serde_json::to_vec(&config).unwrap();
        LanguageConfig::from_hugging_face(&bytes).map_err(|error| error.to_string())
    }

    fn llama() -> Value {
        json!({
            "model_type": "llama", "hidden_size": 576, "intermediate_size": 1536, "vocab_size": 49152,
            "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3,
            "rope_theta": 100000, "rms_norm_eps": 1e-5, "tie_word_embeddings": true,
            "torch_dtype": "bfloat16", "rope_scaling": null, "unheard_of": [1],
        })
    }

    #[test]
    fn a_llama_of_135_million_numbers_is_read() {
        let config = read(llama()).unwrap();
        assert_eq!((config.head_dim, config.rope_theta), (64, 100_000));
        let count = |(_, shape): &(String, Vec<usize>)| shape.iter().product::<usize>();
        let tensors = Language::tensors(&config);
        assert_eq!(tensors.iter().map(count).sum::<usize>(), 134_515_008);
    }

    #[test]
    fn the_language_model_of_a_larger_one_is_read_wherever_its_keys_lie() {
        let mut flat = llama();
        flat["model_type"] = json!("qwen2_5_vl");
        flat["rope_scaling"] = json!({"type": "mrope", "mrope_section": [8, 12, 12]});
        let expected = read(flat.clone()).unwrap();
        assert_eq!((expected.family, expected.mrope_section), (Family::Qwen2, Some([8, 12, 12])));
        let nested = json!({"model_type": "qwen2_5_vl", "text_config": flat});
        assert_eq!(read(nested).unwrap(), expected);
        let mut newest = llama();
        newest["rope_theta"] = Value::Null;
        newest["rope_parameters"] = json!({"rope_theta": 100000.0, "rope_type": "default"});
        assert_eq!(read(newest), read(llama()));
    }

    #[test]
    fn what_is_not_computed_is_refused_by_name() {
        for (key, value, said) in [
            ("model_type", json!("gpt2"), "model_type is \"gpt2\", expected llama, qwen2"),
            ("hidden_size", json!("576"), "hidden_size is \"576\", expected a number"),
            ("vocab_size", json!(0), "vocab_size is 0, expected a number"),
            ("num_hidden_layers", json!(1025), "num_hidden_layers is 1025, expected a number"),
            ("hidden_act", json!("gelu"), "hidden_act is \"gelu\", expected silu"),
            ("attention_bias", json!(true), "attention_bias is true, expected false"),
            ("rope_scaling", json!({"rope_type": "llama3"}), "expected unscaled positions"),
            ("num_key_value_heads", json!(4), "9 query heads cannot share 4 key heads"),
            ("rope_scaling", json!({"mrope_section": [16, 24, 24]}), "half a head in all"),
        ] {
            let mut config = llama();
            config[key] = value;
            let found = read(config).unwrap_err();
            assert!(found.contains(said), "{said:?} in {found}");
        }
        assert!(read(json!([1])).unwrap_err().contains("malformed"));
    }
}
