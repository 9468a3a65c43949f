//! The adapter as a folder that Python's PEFT reads and writes: `adapter_config.json` beside
//! `adapter_model.safetensors`.
//!
//! What is written is byte for byte what PEFT would write of the same numbers. What is read must be
//! a plain LoRA of this base: a setting that would make it compute anything else is refused by
//! name, never ignored.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::adapter::{Adaptable, Adapter, AdapterError};
use crate::lora::LoraConfig;
use crate::tensors::{TensorsError, encode_with, read_weights};

/// Why a folder is no adapter for this base, or could not be written.
#[derive(Debug, thiserror::Error)]
pub enum PeftError {
    /// A file could not be read or written.
    #[error("cannot access {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The configuration is no JSON object.
    #[error("{CONFIG} is not a LoRA configuration: {0}")]
    Config(#[source] serde_json::Error),
    /// A setting this program does not compute.
    #[error("{CONFIG}: {key} = {value} is not supported")]
    Setting {
        /// The setting.
        key: &'static str,
        /// What it is set to.
        value: Value,
    },
    /// A setting that is absent, of the wrong kind or out of range.
    #[error("{CONFIG}: {key} is {value}, expected {expected}")]
    Range {
        /// The setting.
        key: &'static str,
        /// What it is set to: `null` if it is absent.
        value: Value,
        /// What it should be.
        expected: &'static str,
    },
    /// The settings adapt nothing of this base.
    #[error("{CONFIG}: target_modules name no layer of this base")]
    NoLayer,
    /// The tensors cannot be read.
    #[error("{TENSORS}: {0}")]
    Tensors(#[source] TensorsError),
    /// The tensors are not those of the configuration on this base.
    #[error("{TENSORS}: {0}")]
    Adapter(#[from] AdapterError),
}

/// Writes an adapter into a folder, which is made if there is none.
pub fn export(folder: &Path, adapter: &Adapter, lora: &LoraConfig) -> Result<(), PeftError> {
    let wrap = |path: &Path| {
        let path = path.to_owned();
        move |source| PeftError::File { path, source }
    };
    std::fs::create_dir_all(folder).map_err(wrap(folder))?;
    let format = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let config = serde_json::to_vec_pretty(&config_of(lora)).map_err(PeftError::Config)?;
    for (name, bytes) in [(CONFIG, config), (TENSORS, encode_with(adapter.tensors(), Some(format)))]
    {
        let path = folder.join(name);
        std::fs::write(&path, bytes).map_err(wrap(&path))?;
    }
    Ok(())
}

/// Reads the adapter of a folder, for a base of these layers, and how it is applied.
pub fn import(folder: &Path, base: &Adaptable) -> Result<(Adapter, LoraConfig), PeftError> {
    let read = |name: &str| {
        let path = folder.join(name);
        std::fs::read(&path).map_err(|source| PeftError::File { path, source })
    };
    let lora = lora_of(&read(CONFIG)?)?;
    let like = Adapter::init(base, &lora, 0);
    if like.tensors().is_empty() {
        return Err(PeftError::NoLayer);
    }
    let tensors = read_weights(&read(TENSORS)?).map_err(PeftError::Tensors)?;
    let adapter = Adapter::from_tensors(tensors);
    adapter.check_like(&like)?;
    adapter.check_finite()?;
    Ok((adapter, lora))
}

/// The settings that PEFT must have; what is left out it takes for its default.
fn config_of(lora: &LoraConfig) -> Value {
    json!({
        "alpha_pattern": {},
        "auto_mapping": null,
        "base_model_name_or_path": null,
        "bias": "none",
        "fan_in_fan_out": false,
        "inference_mode": true,
        "init_lora_weights": true,
        "layers_to_transform": null,
        "lora_alpha": whole(lora.alpha),
        "lora_dropout": lora.dropout,
        "modules_to_save": null,
        "peft_type": "LORA",
        "r": lora.rank,
        "rank_pattern": {},
        "target_modules": lora.targets,
        "task_type": null,
        "use_dora": false,
        "use_rslora": false,
    })
}

/// PEFT writes 16, not 16.0.
fn whole(number: f64) -> Value {
    match number.fract() == 0.0 && number.abs() < 1e9 {
        true => json!(number as i64),
        false => json!(number),
    }
}

fn lora_of(bytes: &[u8]) -> Result<LoraConfig, PeftError> {
    let settings: Map<String, Value> = serde_json::from_slice(bytes).map_err(PeftError::Config)?;
    let refused = |key| PeftError::Setting { key, value: settings[key].clone() };
    if settings.get("peft_type").is_some_and(|value| value != "LORA") {
        return Err(refused("peft_type"));
    }
    let changed = |key: &&str| settings.get(*key).is_some_and(|value| !is_nothing(value));
    if let Some(key) = UNSUPPORTED.into_iter().find(changed) {
        return Err(refused(key));
    }
    if settings.get("target_modules").is_some_and(Value::is_string) {
        return Err(refused("target_modules"));
    }
    let setting = |key: &str| settings.get(key).cloned().unwrap_or_default();
    let unlike = |key, expected| PeftError::Range { key, value: setting(key), expected };
    let rank = setting("r").as_u64().filter(|rank| (1..=RANK_MAX).contains(rank));
    let alpha = setting("lora_alpha").as_f64();
    let alpha = alpha.filter(|alpha| *alpha > 0.0 && (*alpha as f32).is_finite());
    let dropout = match setting("lora_dropout") {
        Value::Null => Some(0.0),
        given => given.as_f64().filter(|share| (0.0..1.0).contains(share)),
    };
    let targets = serde_json::from_value(setting("target_modules"));
    Ok(LoraConfig {
        rank: rank.ok_or_else(|| unlike("r", "a whole number from 1 to 1024"))? as usize,
        alpha: alpha.ok_or_else(|| unlike("lora_alpha", "a finite number above 0"))?,
        dropout: dropout
            .ok_or_else(|| unlike("lora_dropout", "a number from 0 up to but not including 1"))?,
        targets: targets.map_err(|_| unlike("target_modules", "a list of the names of layers"))?,
    })
}

/// Whether a setting is off.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(on) => !on,
        Value::String(text) => text == "none",
        Value::Array(items) => items.is_empty(),
        Value::Object(entries) => entries.is_empty(),
        Value::Number(_) => false,
    }
}

const CONFIG: &str = "adapter_config.json";
const TENSORS: &str = "adapter_model.safetensors";
/// Settings that must be off, for they change what is computed or which layers are adapted.
const UNSUPPORTED: [&str; 20] = [
    "alora_invocation_tokens",
    "alpha_pattern",
    "arrow_config",
    "bias",
    "exclude_modules",
    "fan_in_fan_out",
    "kasa_config",
    "layer_replication",
    "layers_to_transform",
    "lora_bias",
    "modules_to_save",
    "monteclora_config",
    "rank_pattern",
    "target_parameters",
    "trainable_token_indices",
    "use_bdlora",
    "use_dora",
    "use_qalora",
    "use_rslora",
    "velora_config",
];
/// A federation's bound, far above any rank in use; refused before tensors of that rank are made.
const RANK_MAX: u64 = 1024;

#[cfg(test)]
mod tests;
