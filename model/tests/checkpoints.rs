//! A checkpoint's folder is inspected without loading it, and what is wrong with it is named.

#[path = "support/header.rs"]
mod header;

use std::path::{Path, PathBuf};

use tempfile::TempDir;
use witan_adapter::LoraConfig;
use witan_adapter::tensor_files::TensorFiles;
use witan_model::families::language::Activations;
use witan_model::inspect::checkpoint::CheckpointInfo;
use witan_model::inspect::memory::StepShape;
use witan_model::precision::WeightFormat;
use witan_model::{Causal, Compute, Device};

#[test]
fn a_whole_checkpoint_is_counted_and_lacks_nothing() {
    let info = CheckpointInfo::read(&pinned("qwen3")).unwrap();
    assert_eq!((info.kind.as_str(), info.files.paths().len()), ("qwen3", 3));
    assert_eq!(info.parameter_count() * 2, info.bytes()["bf16"]);
    assert!(info.missing().is_empty() && info.misshapen().is_empty());
    assert!(info.extra().is_empty());
    info.read_all().unwrap();
    let lora = LoraConfig::default();
    let [kept, recomputed] = [Activations::Kept, Activations::Recomputed].map(|activations| {
        let step =
            StepShape { questions: 1, captions: 1, tokens: 64, activations, compute: Compute::Cpu };
        info.training(&lora, step)
    });
    assert_eq!(kept.weights, info.parameter_count() * 4);
    assert_eq!(recomputed.weights, info.parameter_count() * 2);
    assert_eq!(kept.total(), kept.weights + kept.adapter + kept.activations + kept.rest);
    assert!(recomputed.activations < kept.activations);
}

#[test]
fn what_a_larger_model_has_besides_its_language_model_is_tolerated() {
    let info = CheckpointInfo::read(&pinned("qwen2_5_vl")).unwrap();
    assert!(info.missing().is_empty());
    assert!(info.extra().iter().all(|name| name.starts_with("visual.")));
    assert!(!info.extra().is_empty());
}

#[test]
fn a_missing_file_and_missing_tensors_are_named() {
    let folder = copy("qwen3");
    std::fs::remove_file(folder.path().join("model-00002-of-00003.safetensors")).unwrap();
    let error = CheckpointInfo::read(folder.path()).unwrap_err().to_string();
    assert!(error.contains("model-00002-of-00003.safetensors"), "{error}");
    let index = folder.path().join("model.safetensors.index.json");
    let text = std::fs::read_to_string(&index).unwrap();
    std::fs::write(&index, text.replace("model-00002", "model-00001")).unwrap();
    let info = CheckpointInfo::read(folder.path()).unwrap();
    let missing = info.missing();
    assert!(missing.contains(&"model.layers.0.mlp.down_proj.weight"), "{missing:?}");
    let files = TensorFiles::open(folder.path()).unwrap();
    let error = Causal::load(&files, &info.language, None, WeightFormat::AsStored, &Device::flex());
    assert!(error.unwrap_err().to_string().contains("is missing"));
}

#[test]
fn of_blip3o_its_encoder_queries_and_diffusion_transformer_are_asked_for_too() {
    let folder = copy("qwen2");
    let config = folder.path().join("config.json");
    let text = std::fs::read_to_string(&config).unwrap();
    let whole = "\"blip3o_qwen\", \"image_token_id\": 63";
    std::fs::write(&config, text.replace("\"qwen2\"", whole)).unwrap();
    let info = CheckpointInfo::read(folder.path()).unwrap();
    let missing = info.missing();
    for name in
        ["model.latent_queries", "visual.blocks.31.attn.qkv.bias", "model.dit.model.layers.23.gate"]
    {
        assert!(missing.contains(&name), "{name}");
    }
    assert!(!missing.iter().any(|name| name.starts_with("model.layers.")));
}

#[test]
fn a_whole_blip3o_lacks_nothing_and_a_part_of_it_is_missed_by_name() {
    let info = CheckpointInfo::read(&pinned("blip3o")).unwrap();
    assert_eq!((info.kind.as_str(), info.files.paths().len()), ("blip3o_qwen", 2));
    assert!(info.missing().is_empty() && info.misshapen().is_empty());
    assert_eq!(
        info.extra(),
        ["model.dit.model.pad_token"],
        "diffusers makes it and never reads it"
    );
    info.read_all().unwrap();
    let folder = copy("blip3o");
    let index = folder.path().join("model.safetensors.index.json");
    let text = std::fs::read_to_string(&index).unwrap();
    std::fs::write(&index, text.replace("model-00002", "model-00001")).unwrap();
    let info = CheckpointInfo::read(folder.path()).unwrap();
    assert!(info.missing().iter().all(|name| name.starts_with("model.dit.model.")));
    assert!(info.missing().contains(&"model.dit.model.layers.23.gate"), "as released");
}

#[test]
fn a_key_of_blip3os_own_that_nothing_can_be_computed_with_is_named() {
    for (from, to, said) in [
        ("\"num_heads\": 2", "\"num_heads\": 0", "vision_config.num_heads is 0, expected a number"),
        ("\"num_heads\": 2", "\"num_heads\": 3", "hidden_size is 16, expected a multiple of four"),
        ("\"depth\": 3", "\"depth\": \"3\"", "vision_config.depth is \"3\", expected a number"),
        ("\"patch_size\": 4", "\"patch_size\": 4.5", "vision_config.patch_size is 4.5, expected"),
        ("\"window_size\": 16", "\"window_size\": 1", "window_size is 1, expected a number from 8"),
        (
            "\"vision_config\": {",
            "\"vision_config\": 3, \"x\": {",
            "vision_config is 3, expected an",
        ),
        ("\"n_query\": 16", "\"n_query\": 15", "n_query is 15, expected a square number"),
        ("\"n_query\": 16", "\"n_query\": \"16\"", "n_query is \"16\", expected a square number"),
        ("260", "\"260\"", "image_token_id is \"260\", expected a token of the vocabulary"),
        ("260", "264", "image_token_id is 264, expected a token of the vocabulary"),
        ("260", "0", "image_token_id is 0, expected a token of the vocabulary, not its first"),
        (
            "\"tokens_per_second\": 4",
            "\"hidden_act\": \"gelu\"",
            "vision_config.hidden_act is \"gelu\"",
        ),
    ] {
        let folder = copy("blip3o");
        let config = folder.path().join("config.json");
        let text = std::fs::read_to_string(&config).unwrap();
        assert!(text.contains(from), "{from}");
        std::fs::write(&config, text.replace(from, to)).unwrap();
        let error = CheckpointInfo::read(folder.path()).expect_err(to).to_string();
        assert!(error.contains(said), "{said:?} in {error}");
    }
}

#[test]
fn a_key_of_the_encoders_that_is_null_or_absent_has_its_usual_value() {
    let folder = copy("blip3o");
    let config = folder.path().join("config.json");
    let text = std::fs::read_to_string(&config).unwrap();
    let text = text.replace("\"spatial_merge_size\": 2,", "\"spatial_merge_size\": null,");
    std::fs::write(&config, text.replace("\"temporal_patch_size\": 2,", "")).unwrap();
    assert!(CheckpointInfo::read(folder.path()).unwrap().misshapen().is_empty());
}

#[test]
fn a_diffusion_transformer_whose_heads_do_not_share_out_is_refused() {
    let folder = copy("blip3o");
    let (name, axes) = ("model.dit.model.layers.0.attn1.to_k.weight", [16, 32]);
    let file = folder.path().join("model-00002-of-00002.safetensors");
    header::rewrite(&file, |text| {
        let mut tensors: serde_json::Value = serde_json::from_str(text).unwrap();
        assert_eq!(tensors[name]["shape"], serde_json::json!(axes));
        tensors[name]["shape"] = serde_json::json!([1, 512]);
        tensors.to_string()
    });
    assert_eq!(
        CheckpointInfo::read(folder.path()).unwrap_err().to_string(),
        "of a diffusion transformer of width 32, 4 heads cannot share keys of width 1"
    );
}

#[test]
fn a_tensor_that_stands_in_two_files_is_named_with_both() {
    let folder = copy("qwen3");
    let [first, second] =
        [1, 2].map(|at| folder.path().join(format!("model-0000{at}-of-00003.safetensors")));
    std::fs::copy(&first, &second).unwrap();
    let error = CheckpointInfo::read(folder.path()).unwrap_err().to_string();
    for told in ["tensor model.", "appears twice", "model-00001-of", "model-00002-of"] {
        assert!(error.contains(told), "{told:?} in {error}");
    }
}

#[test]
fn two_names_that_are_one_tensors_are_named_with_it() {
    let folder = copy("llama");
    header::rewrite(&folder.path().join("model.safetensors"), |text| {
        let newer = "model.language_model.layers.0.mlp.up_proj.weight";
        text.replace("model.layers.0.mlp.gate_proj.weight", newer)
    });
    assert_eq!(
        CheckpointInfo::read(folder.path()).unwrap_err().to_string(),
        "tensor model.layers.0.mlp.up_proj.weight appears twice: as \
         model.language_model.layers.0.mlp.up_proj.weight in model.safetensors and as \
         model.layers.0.mlp.up_proj.weight in model.safetensors"
    );
}

#[test]
fn a_cut_file_a_lying_header_and_a_file_elsewhere_are_named() {
    let folder = copy("llama");
    let file = folder.path().join("model.safetensors");
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..whole.len() - 1]).unwrap();
    let cut = format!("model.safetensors is cut or malformed ({} bytes)", whole.len() - 1);
    assert_eq!(CheckpointInfo::read(folder.path()).unwrap_err().to_string(), cut);
    let mut lying = whole.clone();
    lying[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    std::fs::write(&file, lying).unwrap();
    assert!(CheckpointInfo::read(folder.path()).unwrap_err().to_string().contains("malformed"));
    let index = folder.path().join("model.safetensors.index.json");
    std::fs::write(&index, r#"{"weight_map": {"x": "../model.safetensors"}}"#).unwrap();
    let error = CheckpointInfo::read(folder.path()).unwrap_err().to_string();
    assert!(error.contains("\"../model.safetensors\", which is no file beside it"), "{error}");
    std::fs::write(&index, "[1").unwrap();
    assert!(
        CheckpointInfo::read(folder.path())
            .unwrap_err()
            .to_string()
            .contains("index.json is malformed")
    );
}

#[test]
fn a_value_that_is_not_finite_is_named_by_its_tensor() {
    let folder = copy("llama");
    let file = folder.path().join("model.safetensors");
    let mut bytes = std::fs::read(&file).unwrap();
    let end = bytes.len();
    bytes[end - 2..].copy_from_slice(&0x7fc0_u16.to_le_bytes());
    std::fs::write(&file, bytes).unwrap();
    let error = CheckpointInfo::read(folder.path()).unwrap().read_all().unwrap_err().to_string();
    assert_eq!(error, "tensor model.norm.weight holds a value that is not finite");
}

#[test]
fn a_tensor_of_another_shape_is_named_with_both() {
    let folder = copy("llama");
    let config = folder.path().join("config.json");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("\"vocab_size\": 64", "\"vocab_size\": 65")).unwrap();
    let misshapen = CheckpointInfo::read(folder.path()).unwrap().misshapen();
    assert_eq!(misshapen[0].name, "model.embed_tokens.weight");
    assert_eq!(
        (&misshapen[0].expected[..], &misshapen[0].found[..]),
        (&[65, 32][..], &[64, 32][..])
    );
}

fn pinned(family: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity").join(family)
}

/// A folder to harm.
fn copy(family: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(pinned(family)).unwrap().flatten() {
        if entry.file_type().unwrap().is_file() {
            std::fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
        }
    }
    folder
}
