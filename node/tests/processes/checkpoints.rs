//! `witan model` looks real checkpoints over, trains them for a step, and names what is wrong with them.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::{TESTNET, finished, home, path, pinned, witan};

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
    let missing = ended.out.lines().find(|line| line.starts_with("missing    9: ")).unwrap();
    assert_eq!(missing.matches("model.layers.2.").count(), 9, "all of them: {missing:?}");
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

#[test]
fn a_federation_trains_a_checkpoint_and_every_member_verifies_it() {
    // The other testnet first: two at once on two cores let views time out that should not.
    finished();
    let folder = tempfile::tempdir().unwrap();
    let (dir, model) = (folder.path().join("net"), pinned("blip3o"));
    let made_of = ["--model", path(&model), "--scenes", "80", "--rounds", "2"];
    let steps = ["--batch-questions", "2", "--batch-captions", "1", "--accumulation", "2"];
    let more = ["--clip", "1.0", "--json", "--dir", path(&dir)];
    let ended = witan(&[TESTNET, &made_of, &steps, &more].concat());
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let report: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!((&report["verified"], &report["ledger_heads_agree"]), (&4.into(), &true.into()));
    for round in report["rounds"].as_array().unwrap() {
        // Four members, two steps of two batches of three examples each.
        assert_eq!((&round["included"], &round["examples"]), (&4.into(), &48.into()), "{round:#}");
    }

    let ended = witan(&["testnet", "--resume", "--dir", path(&dir)]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.out.contains("export --home") && !ended.out.contains(" draw "), "{ended:?}");

    let home = home(&dir, 2);
    let ended = witan(&["verify", "--home", path(&home)]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let picture = model.join("picture.png");
    witan(&["ask", "--home", path(&home), path(&picture), "what is it?"]).refused(
        3,
        "not the embedded model",
        "witan export --peft",
    );
    what_it_learnt_is_exported(&home, &model, folder.path());
    a_tower_is_agreed_on_and_asked_once(&home);
    another_base_is_refused(&home, &model, &folder.path().join("other"));
}

fn a_tower_is_agreed_on_and_asked_once(home: &Path) {
    assert!(fs::read_dir(home.join("targets")).unwrap().count() > 0, "kept for the next start");
    let agreed = fs::read_to_string(home.join("federation.toml")).unwrap();
    let line = agreed.lines().find(|line| line.starts_with("tower = ")).unwrap();
    let other = home.with_file_name("other");
    fs::create_dir(&other).unwrap();
    for file in ["key.pem", "node.toml"] {
        fs::copy(home.join(file), other.join(file)).unwrap();
    }
    let named = format!("tower = \"{}\"", "0f".repeat(32));
    fs::write(other.join("federation.toml"), agreed.replace(line, &named)).unwrap();
    witan(&["run", "--home", path(&other)]).refused(3, "names the tower 0f0f", "the same tower");
}

fn what_it_learnt_is_exported(home: &Path, model: &Path, folder: &Path) {
    let adapter = folder.join("peft");
    let ended = witan(&["export", "--peft", path(&adapter), "--home", path(home)]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.out.contains("model ask") && ended.out.contains("blip3o"), "{ended:?}");
    let drawn = |name: &str, flags: &[&str]| {
        let file = folder.join(name);
        let draw = ["model", "draw", path(model), "a red star", "--out", path(&file)];
        let ended = witan(&[&draw, flags].concat());
        assert_eq!(ended.code, Some(0), "{ended:?}");
        fs::read(file).unwrap()
    };
    let before = drawn("before.safetensors", &[]);
    assert_ne!(drawn("after.safetensors", &["--adapter", path(&adapter)]), before, "it learnt");
}

fn another_base_is_refused(home: &Path, model: &Path, other: &Path) {
    let settings = home.join("node.toml");
    let text = fs::read_to_string(&settings).unwrap();
    let line = text.lines().find(|line| line.starts_with("model = ")).unwrap();
    fs::write(&settings, text.replace(line, "")).unwrap();
    witan(&["run", "--home", path(home)]).refused(3, "the base model differs", "`model`");
    fs::create_dir(other).unwrap();
    for file in fs::read_dir(model).unwrap().map(|entry| entry.unwrap().path()) {
        if file.is_file() {
            fs::copy(&file, other.join(file.file_name().unwrap())).unwrap();
        }
    }
    let pixels = "{\"min_pixels\": 1024, \"max_pixels\": 1024}";
    fs::write(other.join("preprocessor_config.json"), pixels).unwrap();
    fs::write(&settings, text.replace(line, &format!("model = {other:?}"))).unwrap();
    for command in ["run", "verify"] {
        let ended = witan(&[command, "--home", path(home)]);
        ended.refused(3, "this one's is", "same checkpoint");
    }
    fs::write(&settings, &text).unwrap();
    let federation = home.join("federation.toml");
    let agreed = fs::read_to_string(&federation).unwrap();
    fs::write(&federation, agreed.replacen("\"q_proj\"", "\"q_porj\"", 1)).unwrap();
    witan(&["run", "--home", path(home)]).refused(3, "no layer of the model is called", "q_proj");
}

#[test]
fn a_testnet_of_a_checkpoint_that_is_none_or_of_a_strategy_it_cannot_take_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("net");
    let testnet = |model: &Path, flags: &[&str]| {
        let model = ["--model", path(model), "--dir", path(&dir)];
        witan(&[&["testnet", "--nodes", "4"], &model[..], flags].concat())
    };
    testnet(&pinned("llama"), &["--no-compare"]).refused(3, "neither sees nor draws", "BLIP3o");
    let fedex = ["--no-compare", "--strategy", "fedex"];
    testnet(&pinned("blip3o"), &fedex).refused(3, "fedex adds to the base", "flexlora");
    assert!(!dir.exists());
}
