//! The model computes with PEFT's adapter what PyTorch computes with it.
//!
//! The pinned folder was made by PEFT (`scripts/peft_round_trip.py make`).

use std::path::{Path, PathBuf};

use burn::tensor::TensorData;
use witan_adapter::peft::import;
use witan_adapter::tensors::read_weights;

use super::*;
use crate::host::floats;

#[test]
fn the_model_says_with_pefts_adapter_what_pytorch_says() {
    let base = Base::embedded();
    let (adapter, lora) = import(&pinned(), &base.adaptable()).unwrap();
    let mut umm = Umm::new(&base, &lora, &Device::flex()).unwrap();
    umm.set_adapter(&adapter).unwrap();
    let given = read_weights(&std::fs::read(pinned().join("reference.safetensors")).unwrap());
    let given = given.unwrap();
    let (trunk, config) = (umm.frozen().trunk, umm.config().trunk());
    let tokens =
        |name: &str| -> Vec<u32> { given[name].values.iter().map(|token| *token as u32).collect() };
    let question = tokens("question");
    let rows = umm.config().question_rows(&[&question]);
    let picture = tensor(&given, "picture").flatten(0, 1);
    let logits = trunk.answer_logits(picture, &rows, &config);
    assert_close(&floats(logits), &given["logits"].values);
    let caption = tokens("caption");
    let states = trunk.query_states(&config.caption_rows(&[&caption]), &config);
    let condition = trunk.diffusion.condition(states);
    let times: Vec<f32> = given["level"].values.iter().map(|level| level * 1000.0).collect();
    let noised = tensor(&given, "noised");
    let drawn = trunk.diffusion.forward(noised, &times, &condition, &config.diffusion);
    assert_close(&floats(drawn), &given["drawn"].values);
}

#[test]
fn the_layers_that_adapters_without_the_model_are_tested_on_are_the_embedded_models() {
    let pinned = std::fs::read_to_string(pinned().join("base.json")).unwrap();
    let found = serde_json::to_string(&Base::embedded().adaptable()).unwrap();
    assert_eq!(found, pinned.trim());
}

fn pinned() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("adapter/tests/peft")
}

fn tensor(given: &Weights, name: &str) -> Tensor<3> {
    let host = &given[name];
    let data = TensorData::new(host.values.clone(), host.shape.clone());
    Tensor::from_data(data, &Device::flex())
}

/// Apart by at most 1e-4 of the largest value.
#[track_caller]
fn assert_close(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() <= 1e-4 * largest, "{found} for {expected}");
    }
}
