//! `witan model check` estimates the memory that a step of training then takes, with files and from
//! configurations alone.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use serde_json::{Map, Value, json};
use witan_model::families::blip3o::vision::QwenVisionConfig;
use witan_model::families::blip3o::{Blip3oConfig, Network};
use witan_model::families::language::config::LanguageConfig;
use witan_model::families::trunk::diffusion::DiffusionConfig;

use crate::support::{path, pinned, witan};

#[test]
fn the_estimate_is_what_a_step_of_a_batch_takes() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    let peak = |flags: &[&str]| {
        let batch = ["--batch-questions", "4", "--batch-captions", "6", "--tokens", "64"];
        let check = ["model", "check", path(folder.path()), "--step"];
        let ended = witan(&[&check[..], &batch, flags].concat());
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let told = "4 questions and 6 captions of 64 tokens a step";
        assert!(ended.out.contains(told), "{told:?} in {ended:?}");
        let seen = bytes(after(&ended.out, ", what the encoder saw "));
        let reckoned = bytes(after(&ended.out, "tokens a step: ")) - seen;
        let taken = bytes(after(&ended.out, ", peak "));
        let share = reckoned / taken;
        assert!((0.75..1.35).contains(&share), "{reckoned} for {taken}: {ended:?}");
        taken
    };
    assert!(peak(&["--recompute"]) < 0.75 * peak(&[]), "layers computed again leave nothing");
}

#[test]
fn a_preset_is_reckoned_without_files_as_the_documents_say() {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/CHECKPOINTS.md");
    let document = fs::read_to_string(document).unwrap();
    for flags in [&["blip3o-4b"][..], &["blip3o-4b", "--recompute"], &["blip3o-8b", "--recompute"]]
    {
        let ended = witan(&[&["model", "check", "--preset"], flags].concat());
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let command = format!("--preset {}", flags.join(" "));
        let line = document.lines().find(|line| line.contains(&format!("`{command}`")));
        let (line, total) = (line.unwrap(), after(&ended.out, "tokens a step: "));
        let total = &total[..total.find(" (").unwrap()];
        assert!(line.contains(&format!("| {total} |")), "{total:?} in {line:?}");
    }
    let ended = witan(&["model", "check", "--preset", "tiny"]);
    assert!(ended.code == Some(0) && ended.out.contains("model      tiny: width 128"), "{ended:?}");
}

#[test]
fn a_folder_and_a_preset_exclude_each_other_and_one_is_needed() {
    let folder = pinned("blip3o");
    for (flags, said) in [
        (&[path(&folder), "--preset", "tiny"][..], "cannot be used with"),
        (&[], "required"),
        (&["--preset", "blip3o-4b", "--step"], "cannot be used with"),
        (&["--preset", "blip3o"], "expected one of tiny, blip3o-4b, blip3o-8b"),
    ] {
        let ended = witan(&[&["model", "check"], flags].concat());
        assert!(ended.code == Some(2) && ended.err.contains(said), "{said:?} in {ended:?}");
    }
}

#[test]
fn what_the_tower_needs_while_targets_are_made_is_said() {
    let folder = pinned("blip3o");
    let ended = witan(&["model", "check", path(&folder), "--headers"]);
    let tower = folder.join("eva_clip_vision_tower/model.safetensors");
    // Its header is a part of the file.
    let most = fs::metadata(tower).unwrap().len() as f64;
    let said = bytes(after(&ended.out, "targets    "));
    assert!((0.7 * most..=most).contains(&said), "{said} of {most}: {ended:?}");
    assert!(ended.out.contains("for the tower, before the model is loaded"), "{ended:?}");
    let ended = witan(&["model", "check", path(&pinned("llama")), "--batch-questions", "3"]);
    assert!(ended.out.contains("3 rows of 512 tokens a step"), "{ended:?}");
    assert!(!ended.out.contains("targets") && !ended.out.contains("saw"), "{ended:?}");
}

/// Writes a BLIP3o of 20 million numbers, all of them zero.
fn write(folder: &Path) {
    let text = fs::read(pinned("blip3o").join("config.json")).unwrap();
    let mut text: Map<String, Value> = serde_json::from_slice(&text).unwrap();
    let mut config = Blip3oConfig::released_4b();
    config.trunk.language = LanguageConfig {
        vocab_size: 4096,
        hidden_size: 384,
        intermediate_size: 1024,
        num_hidden_layers: 6,
        num_attention_heads: 6,
        num_key_value_heads: 2,
        head_dim: 64,
        ..config.trunk.language
    };
    for (key, size) in [
        ("vocab_size", 4096),
        ("hidden_size", 384),
        ("intermediate_size", 1024),
        ("num_hidden_layers", 6),
        ("num_attention_heads", 6),
        ("image_token_id", 4000),
    ] {
        text.insert(key.to_owned(), size.into());
    }
    text.insert("rope_scaling".to_owned(), json!({"mrope_section": [8, 12, 12]}));
    config.trunk.queries = 16;
    config.trunk.diffusion = DiffusionConfig {
        places: 16,
        channels: 64,
        hidden_size: 256,
        time: 256,
        layers: 6,
        heads: 8,
        keys: 256,
        intermediate_size: 704,
        ..DiffusionConfig::released(384)
    };
    let vision = text["vision_config"].as_object().unwrap();
    config.vision =
        QwenVisionConfig { out_hidden_size: 384, ..QwenVisionConfig::read(vision).unwrap() };
    fs::write(folder.join("config.json"), serde_json::to_vec(&text).unwrap()).unwrap();
    zeros(&folder.join("model.safetensors"), Network::tensors(&config));
}

fn zeros(path: &Path, tensors: Vec<(String, Vec<usize>)>) {
    let mut end = 0;
    let entry = |(name, shape): (String, Vec<usize>)| {
        let start = end;
        end += 2 * shape.iter().product::<usize>();
        (name, json!({"dtype": "BF16", "shape": shape, "data_offsets": [start, end]}))
    };
    let header = Value::Object(tensors.into_iter().map(entry).collect()).to_string();
    let mut file = File::create(path).unwrap();
    file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
    file.write_all(header.as_bytes()).unwrap();
    file.set_len((8 + header.len() + end) as u64).unwrap();
}

/// What stands behind some words.
fn after<'a>(out: &'a str, words: &str) -> &'a str {
    out.split_once(words).unwrap_or_else(|| panic!("{words:?} in {out}")).1
}

/// The bytes that a text begins with: `1.2 GB`.
fn bytes(text: &str) -> f64 {
    let mut words = text.split([' ', '\n', ')', ',']);
    let number: f64 = words.next().unwrap().parse().unwrap();
    number
        * match words.next().unwrap() {
            "kB" => 1e3,
            "MB" => 1e6,
            "GB" => 1e9,
            unit => panic!("{unit:?}"),
        }
}
