//! Checkpoints that transformers made are read, and said with as transformers does, to 1e-4 in f32.
//!
//! The pinned folders `tests/parity/*` hold what `scripts/parity.py` made: random weights of every
//! family, and what transformers and PEFT say with them.

#[path = "support/header.rs"]
mod header;

use std::path::{Path, PathBuf};

use tempfile::TempDir;
use witan_adapter::peft::import;
use witan_adapter::tensor_files::TensorFiles;
use witan_adapter::tensors::{HostTensor, Weights, read_weights};
use witan_adapter::{Adapter, LoraConfig};
use witan_data::image_file::decode;
use witan_data::tokenizer::TextTokenizer;
use witan_model::families::blip3o::eva::{Eva, EvaConfig, pooled};
use witan_model::families::blip3o::pixels::{Patches, PixelBounds};
use witan_model::families::blip3o::training::{Captions, Question};
use witan_model::families::blip3o::vision::{QwenVision, QwenVisionConfig};
use witan_model::families::blip3o::{Blip3o, Blip3oConfig, prompt};
use witan_model::families::language::config::LanguageConfig;
use witan_model::families::language::{Activations, Language};
use witan_model::families::trunk::diffusion::{Diffusion, DiffusionConfig};
use witan_model::families::trunk::flow::Noise;
use witan_model::host::{floats, tensor_of};
use witan_model::layers::loader::Loader;
use witan_model::optimizer::Optimizer;
use witan_model::precision::WeightFormat;
use witan_model::{Causal, Device};

const FAMILIES: [&str; 4] = ["llama", "qwen2", "qwen3", "qwen2_5_vl"];

#[test]
fn every_family_says_what_transformers_says() {
    for family in FAMILIES {
        let (causal, pinned) = (load(family, None, WeightFormat::Float32), reference(family));
        let rows = rows(&pinned);
        assert_close(family, &causal.hidden(&rows), &pinned["hidden"].values);
        assert_close(family, &causal.logits(&rows, rows[0].len()), &pinned["logits"].values);
    }
}

#[test]
fn weights_kept_in_bf16_say_the_same_bit_for_bit() {
    for family in FAMILIES {
        let rows = rows(&reference(family));
        let [kept, plain] =
            [WeightFormat::AsStored, WeightFormat::Float32].map(|kept| load(family, None, kept));
        assert!(kept.logits(&rows, 3) == plain.logits(&rows, 3), "{family}");
    }
}

#[test]
fn products_in_bf16_say_and_learn_nearly_the_same() {
    for family in FAMILIES {
        let rows = rows(&reference(family));
        let lora = LoraConfig { rank: 2, ..LoraConfig::default() };
        let [mixed, single] = [WeightFormat::Bfloat16, WeightFormat::Float32].map(|kept| {
            let mut causal = load(family, Some(&lora), kept);
            causal
                .set_adapter(&Adapter::init(&Causal::adaptable(&config(family)), &lora, 7))
                .unwrap();
            let said = causal.logits(&rows, 3);
            let (mut optimizer, activations) = (Optimizer::new(0.0), Activations::Recomputed);
            (said, [(); 3].map(|()| causal.train_step(&mut optimizer, (&rows, activations), 1e-2)))
        });
        assert!(mixed != single, "{family}: bf16 rounds");
        let error = relative_error(&mixed.0, &single.0);
        assert!(error < 0.02, "{family}: logits are {error} apart");
        let error = relative_error(&mixed.1, &single.1);
        assert!(error < 0.01, "{family}: losses are {error} apart");
    }
}

#[test]
fn a_row_says_the_same_whatever_it_is_padded_to() {
    for family in FAMILIES {
        let causal = load(family, None, WeightFormat::Float32);
        let long = rows(&reference(family)).remove(0);
        let short = long[..5].to_vec();
        let both = causal.logits(&[long, short.clone()], 1);
        assert_close(family, &both[both.len() / 2..], &causal.logits(&[short], 1));
    }
}

#[test]
fn greedy_text_is_the_likeliest_token_after_every_prefix() {
    for family in FAMILIES {
        let causal = load(family, None, WeightFormat::AsStored);
        let mut row = vec![3, 1, 4];
        let text = causal.greedy(&[vec![9, 2, 6, 5, 3, 5], row.clone()], 12).remove(1);
        for token in text {
            let logits = causal.logits(&[row.clone()], 1);
            assert!(logits.iter().all(|logit| *logit <= logits[token as usize]), "{family}");
            row.push(token);
        }
    }
}

#[test]
fn a_peft_adapter_says_and_learns_what_it_does_in_peft() {
    for family in ["llama", "qwen2", "qwen3"] {
        let (config, pinned) = (config(family), reference(family));
        let (adapter, lora) =
            import(&folder(family).join("adapter"), &Causal::adaptable(&config)).unwrap();
        let mut causal = load(family, Some(&lora), WeightFormat::Float32);
        causal.set_adapter(&adapter).unwrap();
        let rows = rows(&pinned);
        assert_close(family, &causal.logits(&rows, rows[0].len()), &pinned["adapted"].values);
        let learnt = [Activations::Kept, Activations::Recomputed].map(|activations| {
            let mut causal = load(family, Some(&lora), WeightFormat::Float32);
            causal.set_adapter(&adapter).unwrap();
            let (mut optimizer, activations) = (Optimizer::new(0.0), activations);
            let losses: Vec<f32> = (0..2)
                .map(|_| causal.train_step(&mut optimizer, (&rows, activations), 1e-2))
                .collect();
            assert_close(family, &losses, &pinned["losses"].values);
            causal.adapter()
        });
        assert!(
            learnt[0] == learnt[1],
            "{family}: recomputed layers learn the same to the last bit"
        );
        assert!(learnt[0].is_like(&adapter) && learnt[0] != adapter);
    }
}

#[test]
fn a_checkpoint_under_newer_names_says_sees_and_learns_bit_for_bit_the_same() {
    let newer = [("model.", "model.language_model."), ("visual.", "model.visual.")];
    let between = [("model.", "language_model.model."), ("lm_head.", "language_model.lm_head.")];
    for (family, names) in [("qwen2_5_vl", newer), ("qwen2_5_vl", between), ("qwen2", between)] {
        let renamed = renamed(family, names);
        let learnt = [&folder(family), renamed.path()].map(|folder| {
            let files = TensorFiles::open(folder).unwrap();
            let lora = LoraConfig { rank: 2, ..LoraConfig::default() };
            let (config, device) = (config(family), Device::flex());
            let causal = Causal::load(&files, &config, Some(&lora), WeightFormat::Float32, &device);
            let mut causal = causal.unwrap();
            causal.set_adapter(&Adapter::init(&Causal::adaptable(&config), &lora, 7)).unwrap();
            let (rows, seen) = (rows(&reference(family)), sees(family, files));
            let said = causal.logits(&rows, rows[0].len());
            let (mut optimizer, activations) = (Optimizer::new(0.0), Activations::Kept);
            let losses =
                [(); 2].map(|()| causal.train_step(&mut optimizer, (&rows, activations), 1e-2));
            (said, seen, losses, causal.adapter())
        });
        assert!(learnt[0] == learnt[1], "{family} as {names:?}");
        assert!(learnt[0].2[0] != learnt[0].2[1], "{family} learns");
    }
}

#[test]
fn the_list_of_tensors_is_what_transformers_wrote() {
    for family in FAMILIES {
        let (files, expected) =
            (TensorFiles::open(&folder(family)).unwrap(), Language::tensors(&config(family)));
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
    let config = DiffusionConfig::of(&files).unwrap();
    let device = Device::flex();
    let diffusion = Diffusion::load(&mut Loader::from_files(files, &device), &config).unwrap();
    let tensor = |name: &str| tensor_of::<3>(&pinned[name], false, &device);
    let (times, condition) = (&pinned["times"].values, diffusion.condition(tensor("condition")));
    let velocity = diffusion.forward(tensor("noised"), times, &condition, &config);
    assert_close("lumina", &floats(velocity), &pinned["velocity"].values);
}

#[test]
fn the_vision_encoder_sees_what_transformers_does() {
    let files = TensorFiles::open(&folder("qwen2_5_vl")).unwrap();
    let expected = &reference("qwen2_5_vl")["seen"].values;
    assert_close("qwen2_5_vl", &sees("qwen2_5_vl", files), expected);
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

#[test]
fn the_whole_of_blip3o_reads_a_picture_and_answers_as_transformers_does() {
    let (whole, pinned) = (blip3o(None, Activations::Kept), reference("blip3o"));
    let picture = std::fs::read(folder("blip3o").join("picture.png")).unwrap();
    let picture = decode(&picture).unwrap();
    let bounds = PixelBounds::of(&folder("blip3o")).unwrap();
    let patches = Patches::of(&picture, bounds, &whole.config().vision).unwrap();
    assert_close("patches", &patches.values, &pinned["patches"].values);
    let text = words().encode(&prompt::question("what colour is it?", 24).whole()).unwrap();
    assert_eq!(text, tokens(&pinned["question"]));
    let seen = whole.look(&patches);
    assert_close("logits", &whole.logits(&seen, &text, 4), &pinned["logits"].values);
    assert_eq!(whole.answer(&seen, &text, None, 6), tokens(&pinned["answer"]));
}

#[test]
fn the_whole_of_blip3o_draws_the_features_that_diffusers_does() {
    let (whole, pinned) = (blip3o(None, Activations::Kept), reference("blip3o"));
    let text = words().encode(&prompt::caption("a red star").whole()).unwrap();
    assert_eq!(text, tokens(&pinned["caption"]));
    assert_close("states", &whole.states(&text), &pinned["states"].values);
    let drawn = whole.draw(&text, pinned["noise"].values.clone());
    assert_close("drawn", &drawn, &pinned["drawn"].values);
}

#[test]
fn the_whole_of_blip3o_learns_both_tasks_as_peft_does() {
    let pinned = reference("blip3o");
    let config = blip3o_config();
    let (adapter, lora) =
        import(&folder("blip3o").join("adapter"), &Blip3o::adaptable(&config)).unwrap();
    let patches = Patches { values: pinned["patches"].values.clone(), grid: [8, 12] };
    let seen = blip3o(None, Activations::Kept).look(&patches);
    let words = words();
    let encode = |text: &str| words.encode(text).unwrap();
    let question = |(asked, answer): (&str, &str)| Question {
        seen: &seen,
        text: encode(&prompt::question(asked, 24).whole()),
        answer: encode(&format!("{answer}{}", prompt::END)),
    };
    let questions = [("what colour is it?", "red"), ("is there a tree?", "no")].map(question);
    let values = |name: &str| pinned[name].values.clone();
    let captions = || Captions {
        texts: ["a red star", "two blue circles"]
            .map(|it| encode(&prompt::caption(it).whole()))
            .to_vec(),
        targets: values("targets"),
        noise: Noise { levels: values("levels"), values: values("hidden"), kept: values("kept") },
    };
    for activations in [Activations::Kept, Activations::Recomputed] {
        let mut whole = blip3o(Some(&lora), activations);
        whole.set_adapter(&adapter).unwrap();
        let mut optimizer = Optimizer::new(0.0);
        let losses =
            [(); 2].map(|()| whole.train_step(&mut optimizer, (&questions, captions()), 1e-2));
        let losses = losses.map(|losses| [losses.answer, losses.flow].map(Option::unwrap)).concat();
        assert_close("losses", &losses, &pinned["losses"].values);
        let learnt = whole.adapter();
        assert!(learnt.is_like(&adapter) && learnt != adapter);
    }
}

#[test]
fn the_whole_of_blip3o_kept_in_bf16_says_and_draws_the_same_bit_for_bit() {
    let pinned = reference("blip3o");
    let patches = Patches { values: pinned["patches"].values.clone(), grid: [8, 12] };
    let said = [Activations::Recomputed, Activations::Kept].map(|activations| {
        let whole = blip3o(None, activations);
        let logits = whole.logits(&whole.look(&patches), &tokens(&pinned["question"]), 4);
        let drawn = whole.draw(&tokens(&pinned["caption"]), pinned["noise"].values.clone());
        [logits, drawn]
    });
    assert!(said[0] == said[1]);
}

fn blip3o_config() -> Blip3oConfig {
    let config = std::fs::read(folder("blip3o").join("config.json")).unwrap();
    Blip3oConfig::read(&config, &TensorFiles::open(&folder("blip3o")).unwrap()).unwrap()
}

fn blip3o(lora: Option<&LoraConfig>, activations: Activations) -> Blip3o {
    let files = TensorFiles::open(&folder("blip3o")).unwrap();
    let device = Device::flex();
    Blip3o::load(&files, &blip3o_config(), lora, activations, &device).unwrap()
}

fn words() -> TextTokenizer {
    TextTokenizer::open(&folder("blip3o")).unwrap()
}

fn tokens(pinned: &HostTensor) -> Vec<u32> {
    pinned.values.iter().map(|token| *token as u32).collect()
}

/// What the vision encoder sees in the pinned picture; nothing if the family has none.
fn sees(family: &str, files: TensorFiles) -> Vec<f32> {
    let (whole, pinned) = (std::fs::read(folder(family).join("config.json")), reference(family));
    let whole: serde_json::Value = serde_json::from_slice(&whole.unwrap()).unwrap();
    let Some(part) = whole["vision_config"].as_object() else { return Vec::new() };
    let (config, device) = (QwenVisionConfig::read(part).unwrap(), Device::flex());
    let vision = QwenVision::load(&mut Loader::from_files(files, &device), &config).unwrap();
    let patches = tensor_of::<2>(&pinned["patches"], false, &device);
    floats(vision.forward(patches, [6, 10], &config))
}

/// A pinned family's tensors, those whose names begin with the first of a pair renamed to begin
/// with the second.
fn renamed(family: &str, names: [(&str, &str); 2]) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    let file = copy.path().join("model.safetensors");
    std::fs::copy(folder(family).join("model.safetensors"), &file).unwrap();
    header::rewrite(&file, |text| {
        let header: serde_json::Map<_, _> = serde_json::from_str(text).unwrap();
        let renamed = header.into_iter().map(|(name, said)| {
            let other = names
                .iter()
                .find_map(|(older, newer)| Some(format!("{newer}{}", name.strip_prefix(older)?)));
            (other.unwrap_or(name), said)
        });
        serde_json::Value::Object(renamed.collect()).to_string()
    });
    copy
}

fn folder(family: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity").join(family)
}

fn config(family: &str) -> LanguageConfig {
    let bytes = std::fs::read(folder(family).join("config.json")).unwrap();
    LanguageConfig::from_hugging_face(&bytes).unwrap()
}

fn load(family: &str, lora: Option<&LoraConfig>, kept: WeightFormat) -> Causal {
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
    let error = relative_error(found, expected);
    assert!(error <= 1e-4, "{family}: {error} apart");
}

/// The largest difference, as a share of the largest value.
#[track_caller]
fn relative_error(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    assert!(found.iter().all(|value| value.is_finite()));
    let largest =
        |values: &mut dyn Iterator<Item = f32>| values.fold(0.0_f32, |a, b| a.max(b.abs()));
    let apart = largest(&mut found.iter().zip(expected).map(|(found, expected)| found - expected));
    apart / largest(&mut expected.iter().copied())
}
