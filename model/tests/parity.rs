//! Checkpoints that transformers made are read, and said with as transformers does, to 1e-4 in f32.
//!
//! The pinned folders `tests/parity/*` hold what `scripts/parity.py` made: random weights of every family, and what
//! transformers and PEFT say with them.

use std::path::{Path, PathBuf};

use witan_model::causal::{Kept, Tuning};
use witan_model::checkpoint::read_weights;
use witan_model::config::language::LanguageConfig;
use witan_model::peft::import_like;
use witan_model::tensor_files::TensorFiles;
use witan_model::umm::eva::{Eva, EvaConfig, pooled};
use witan_model::umm::lumina::{Lumina, LuminaConfig};
use witan_model::umm::qwen_vision::{QwenVision, QwenVisionConfig};
use witan_model::umm::weights::{Loader, Weights, floats, tensor_of};
use witan_model::{Adapter, Causal, Device, LoraConfig};

const DIFFUSION: &str = "model.dit.model";
const FAMILIES: [&str; 4] = ["llama", "qwen2", "qwen3", "qwen2_5_vl"];

#[test]
fn every_family_says_what_transformers_says() {
    for family in FAMILIES {
        let (causal, pinned) = (load(family, None, Kept::Float32), reference(family));
        let rows = rows(&pinned);
        assert_close(family, &causal.hidden(&rows), &pinned["hidden"].values);
        assert_close(family, &causal.logits(&rows, rows[0].len()), &pinned["logits"].values);
    }
}

#[test]
fn weights_kept_in_bf16_say_the_same_bit_for_bit() {
    for family in FAMILIES {
        let rows = rows(&reference(family));
        let [kept, plain] = [Kept::AsStored, Kept::Float32].map(|kept| load(family, None, kept));
        assert!(kept.logits(&rows, 3) == plain.logits(&rows, 3), "{family}");
    }
}

#[test]
fn a_row_says_the_same_whatever_it_is_padded_to() {
    for family in FAMILIES {
        let causal = load(family, None, Kept::Float32);
        let long = rows(&reference(family)).remove(0);
        let short = long[..5].to_vec();
        let both = causal.logits(&[long, short.clone()], 1);
        assert_close(family, &both[both.len() / 2..], &causal.logits(&[short], 1));
    }
}

#[test]
fn greedy_text_is_the_likeliest_token_after_every_prefix() {
    let causal = load("qwen3", None, Kept::AsStored);
    let prompt: Vec<u32> = vec![3, 1, 4];
    let text = causal.greedy(&[vec![9, 2, 6, 5], prompt.clone()], 4).remove(1);
    let mut row = prompt;
    for token in text {
        let logits = causal.logits(&[row.clone()], 1);
        assert!(logits.iter().all(|logit| *logit <= logits[token as usize]));
        row.push(token);
    }
}

#[test]
fn a_peft_adapter_says_and_learns_what_it_does_in_peft() {
    for family in ["llama", "qwen2", "qwen3"] {
        let (config, pinned) = (config(family), reference(family));
        let (adapter, lora) = import_like(&folder(family).join("adapter"), |lora| {
            Causal::fresh_adapter(&config, lora, 0)
        })
        .unwrap();
        let mut causal = load(family, Some(&lora), Kept::Float32);
        causal.set_adapter(&adapter).unwrap();
        let rows = rows(&pinned);
        assert_close(family, &causal.logits(&rows, rows[0].len()), &pinned["adapted"].values);
        let mut tuning = Tuning::new(causal);
        let losses: Vec<f32> = (0..2).map(|_| tuning.step(&rows, 1e-2)).collect();
        assert_close(family, &losses, &pinned["losses"].values);
        let learnt: Adapter = tuning.into_causal().adapter();
        assert!(learnt.is_like(&adapter) && learnt != adapter);
    }
}

#[test]
fn the_list_of_tensors_is_what_transformers_wrote() {
    for family in FAMILIES {
        let (files, expected) =
            (TensorFiles::open(&folder(family)).unwrap(), config(family).tensors());
        for (name, shape) in &expected {
            assert_eq!(files.tensors().get(name).map(|place| &place.shape), Some(shape), "{name}");
        }
        let others =
            files.tensors().keys().filter(|name| !expected.iter().any(|it| it.0 == **name));
        let foreign: Vec<_> = others.filter(|name| !name.starts_with("visual.")).collect();
        assert!(foreign.is_empty(), "{family}: {foreign:?}");
    }
}

#[test]
fn the_diffusion_transformer_predicts_what_diffusers_does() {
    let (files, pinned) = (TensorFiles::open(&folder("lumina")).unwrap(), reference("lumina"));
    let config = LuminaConfig::of(&files, DIFFUSION).unwrap();
    let device = Device::flex();
    let lumina = Lumina::load(&mut Loader::from_files(files, &device), DIFFUSION, config).unwrap();
    let tensor = |name: &str| tensor_of::<3>(&pinned[name], false, &device);
    let times = &pinned["times"].values;
    let velocity = lumina.forward(tensor("noised"), times, tensor("condition"), config);
    assert_close("lumina", &floats(velocity), &pinned["velocity"].values);
}

#[test]
fn the_vision_encoder_sees_what_transformers_does() {
    let (files, pinned) =
        (TensorFiles::open(&folder("qwen2_5_vl")).unwrap(), reference("qwen2_5_vl"));
    let whole = std::fs::read(folder("qwen2_5_vl").join("config.json")).unwrap();
    let whole: serde_json::Value = serde_json::from_slice(&whole).unwrap();
    let config: QwenVisionConfig = serde_json::from_value(whole["vision_config"].clone()).unwrap();
    let device = Device::flex();
    let vision = QwenVision::load(&mut Loader::from_files(files, &device), &config).unwrap();
    let patches = tensor_of::<2>(&pinned["patches"], false, &device);
    let seen = vision.forward(patches, [6, 10], &config);
    assert_close("qwen2_5_vl", &floats(seen), &pinned["seen"].values);
}

#[test]
fn the_tower_that_makes_targets_makes_what_timms_does() {
    let (files, pinned) = (TensorFiles::open(&folder("eva")).unwrap(), reference("eva"));
    let config = EvaConfig::of(&files, 2).unwrap();
    let device = Device::flex();
    let eva = Eva::load(&mut Loader::from_files(files, &device), config).unwrap();
    let features = eva.forward(tensor_of(&pinned["pixels"], false, &device), config);
    assert_close("eva", &floats(features.clone()), &pinned["features"].values);
    assert_close("eva", &floats(pooled(features, 2)), &pinned["pooled"].values);
}

fn folder(family: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity").join(family)
}

fn config(family: &str) -> LanguageConfig {
    let bytes = std::fs::read(folder(family).join("config.json")).unwrap();
    LanguageConfig::from_hugging_face(&bytes).unwrap()
}

fn load(family: &str, lora: Option<&LoraConfig>, kept: Kept) -> Causal {
    let files = TensorFiles::open(&folder(family)).unwrap();
    Causal::load(&files, &config(family), lora, kept, &Device::flex()).unwrap()
}

fn reference(family: &str) -> Weights {
    read_weights(&std::fs::read(folder(family).join("reference.safetensors")).unwrap()).unwrap()
}

fn rows(pinned: &Weights) -> Vec<Vec<u32>> {
    let rows = &pinned["rows"];
    let tokens = rows.values.chunks_exact(rows.shape[1]);
    tokens.map(|row| row.iter().map(|token| *token as u32).collect()).collect()
}

/// Apart by at most 1e-4 of the largest value.
#[track_caller]
fn assert_close(family: &str, found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len(), "{family}");
    let largest = expected.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() <= 1e-4 * largest, "{family}: {found} for {expected}");
    }
}
