//! PEFT's own folder is read and written again; what is no adapter of this base is named.
//!
//! The pinned folder `tests/peft` was made by PEFT (`scripts/peft_round_trip.py make`).

use tempfile::TempDir;

use super::*;
use crate::tensors::encode;

#[test]
fn pefts_tensors_are_written_again_byte_for_byte() {
    let (adapter, lora) = import(&pinned(), &base()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    export(folder.path(), &adapter, &lora).unwrap();
    let bytes = |folder: &Path| std::fs::read(folder.join(TENSORS)).unwrap();
    assert!(bytes(folder.path()) == bytes(&pinned()));
    assert_eq!(import(folder.path(), &base()).unwrap(), (adapter, lora));
}

#[test]
fn a_fresh_adapter_of_every_layer_comes_back_as_it_was() {
    let lora = LoraConfig { alpha: 2.5, ..LoraConfig::default() };
    let adapter = Adapter::init(&base(), &lora, 3);
    let folder = tempfile::tempdir().unwrap();
    export(folder.path(), &adapter, &lora).unwrap();
    assert_eq!(import(folder.path(), &base()).unwrap(), (adapter, lora));
}

#[test]
fn a_setting_that_is_not_plain_lora_is_named() {
    for (key, value) in [
        ("use_dora", json!(true)),
        ("use_rslora", json!(true)),
        ("bias", json!("all")),
        ("rank_pattern", json!({"q_proj": 4})),
        ("peft_type", json!("IA3")),
        ("target_modules", json!("all-linear")),
    ] {
        let found = refused(|settings| drop(settings.insert(key.into(), value.clone())));
        assert_eq!(found, format!("adapter_config.json: {key} = {value} is not supported"));
    }
    let found = refused(|settings| {
        drop(settings.insert("target_modules".into(), json!(["attention"])));
    });
    assert_eq!(found, "adapter_config.json: target_modules name no layer of this base");
}

#[test]
fn a_setting_out_of_range_or_of_another_kind_is_named_with_what_is_expected() {
    for (key, value, expected) in [
        ("r", json!(0), "a whole number from 1 to 1024"),
        ("r", json!(1025), "a whole number from 1 to 1024"),
        ("r", json!("two"), "a whole number from 1 to 1024"),
        ("lora_alpha", json!(-3), "a finite number above 0"),
        ("lora_alpha", json!(0), "a finite number above 0"),
        ("lora_alpha", json!(1e300), "a finite number above 0"),
        ("lora_alpha", json!("NaN"), "a finite number above 0"),
        ("lora_alpha", json!(null), "a finite number above 0"),
        ("lora_dropout", json!(7), "a number from 0 up to but not including 1"),
        ("lora_dropout", json!(1.0), "a number from 0 up to but not including 1"),
        ("lora_dropout", json!(-0.1), "a number from 0 up to but not including 1"),
        ("target_modules", json!([1]), "a list of the names of layers"),
    ] {
        let found = refused(|settings| drop(settings.insert(key.into(), value.clone())));
        assert_eq!(found, format!("adapter_config.json: {key} is {value}, expected {expected}"));
    }
    // Python writes it so, and it is no JSON.
    let copied = copy(|_| ());
    let path = copied.path().join(CONFIG);
    let settings = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, settings.replacen("\"lora_alpha\":", "\"lora_alpha\":NaN,\"x\":", 1))
        .unwrap();
    let found = import(copied.path(), &base()).unwrap_err().to_string();
    assert!(found.starts_with("adapter_config.json is not a LoRA configuration: "), "{found}");
}

#[test]
fn tensors_of_another_rank_or_layer_are_named() {
    let found = refused(|settings| drop(settings.insert("r".into(), json!(4))));
    assert!(found.contains("has shape [2, 128], expected [4, 128]"), "{found}");
    let found = refused(|settings| {
        drop(settings.insert("target_modules".into(), json!(["down_proj", "q_proj"])));
    });
    assert!(found.contains("unknown tensor base_model.model.model.dit"), "{found}");
}

#[test]
fn cut_bytes_and_values_that_are_not_finite_are_named() {
    let copied = copy(|_| ());
    let folder = copied.path();
    let bytes = std::fs::read(pinned().join(TENSORS)).unwrap();
    std::fs::write(folder.join(TENSORS), &bytes[..bytes.len() / 2]).unwrap();
    let found = import(folder, &base()).unwrap_err().to_string();
    assert_eq!(found, "adapter_model.safetensors: cut or malformed (17180 bytes)");
    let mut tensors = read_weights(&bytes).unwrap();
    tensors.values_mut().next().unwrap().values[5] = f32::NAN;
    std::fs::write(folder.join(TENSORS), encode(&tensors)).unwrap();
    let found = import(folder, &base()).unwrap_err().to_string();
    assert!(found.contains("holds a value that is not finite at index 5"), "{found}");
    std::fs::remove_file(folder.join(TENSORS)).unwrap();
    let found = import(folder, &base()).unwrap_err().to_string();
    assert!(found.contains("cannot access") && found.contains(TENSORS), "{found}");
}

/// What is said of the pinned folder with its settings changed.
fn refused(change: impl FnOnce(&mut Map<String, Value>)) -> String {
    import(copy(change).path(), &base()).unwrap_err().to_string()
}

/// The pinned folder, copied, with its settings changed.
fn copy(change: impl FnOnce(&mut Map<String, Value>)) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let settings = std::fs::read(pinned().join(CONFIG)).unwrap();
    let mut settings: Map<String, Value> = serde_json::from_slice(&settings).unwrap();
    change(&mut settings);
    let settings = serde_json::to_vec(&settings).unwrap();
    std::fs::write(folder.path().join(CONFIG), settings).unwrap();
    std::fs::copy(pinned().join(TENSORS), folder.path().join(TENSORS)).unwrap();
    folder
}

fn pinned() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peft")
}

/// The layers of the embedded model, which the tests of `witan-model` hold to be so.
fn base() -> Adaptable {
    serde_json::from_str(include_str!("../../tests/peft/base.json")).unwrap()
}
