//! `witan model` looks real checkpoints over, trains them for a step, and names what is wrong with them.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{path, witan};

#[test]
fn a_checkpoint_of_every_family_is_looked_over_and_trained_for_a_step() {
    for family in ["llama", "qwen2", "qwen3", "qwen2_5_vl"] {
        let folder = pinned(family);
        let ended = witan(&["model", "check", path(&folder), "--step", "--tokens", "8"]);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        for told in [family, "missing    none", "of bf16", "all finite", "loss before", ": can\n"] {
            assert!(ended.out.contains(told), "{told:?} in {ended:?}");
        }
    }
}

#[test]
fn what_is_missing_is_listed_and_refused() {
    let (folder, from) = (tempfile::tempdir().unwrap(), pinned("llama"));
    for name in ["config.json", "model.safetensors"] {
        fs::copy(from.join(name), folder.path().join(name)).unwrap();
    }
    let config = folder.path().join("config.json");
    let text = fs::read_to_string(&config).unwrap();
    let more = text.replace("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3");
    fs::write(&config, more).unwrap();
    let ended = witan(&["model", "check", path(folder.path())]);
    ended.refused(3, "9 tensors are missing, the first is model.layers.2.", "every file");
    assert!(ended.out.contains("missing    9: model.layers.2."), "{ended:?}");
    fs::write(&config, text.replace("\"llama\"", "\"gpt2\"")).unwrap();
    let ended = witan(&["model", "check", path(folder.path())]);
    ended.refused(3, "model_type is \"gpt2\"", "Llama, Qwen2");
    let ended = witan(&["model", "say", path(&from), "once"]);
    ended.refused(3, "tokenizer.json is no tokenizer", "tokenizer.json");
}

#[test]
fn the_table_has_every_preset_from_configuration_alone() {
    let ended = witan(&["model", "table", "--layers"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for told in ["tiny", "blip3o-4b", "blip3o-8b", "1021x", "1403x", "model.dit.model.layers.*"] {
        assert!(ended.out.contains(told), "{told:?} in {ended:?}");
    }
}

fn pinned(family: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/tests/parity").join(family)
}
