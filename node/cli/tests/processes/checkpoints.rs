//! `witan model` looks real checkpoints over, trains them for a step, and names what is wrong with
//! them.

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
    let lora =
        ["--lora-rank", "2", "--lora-dropout", "0.1", "--lora-targets", "q_proj,v_proj,to_q"];
    let more = ["--clip", "1.0", "--json", "--dir", path(&dir)];
    let ended = witan(&[TESTNET, &made_of, &steps, &lora, &more].concat());
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let report: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!((&report["verified"], &report["ledger_heads_agree"]), (&4.into(), &true.into()));
    for round in report["rounds"].as_array().unwrap() {
        // Four members, two steps of two batches of three examples each.
        assert_eq!((&round["included"], &round["examples"]), (&4.into(), &48.into()), "{round:#}");
    }

    let ended = witan(&["testnet", "--resume", "--dir", path(&dir)]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.out.contains("ask --home") && !ended.out.contains(" draw "), "{ended:?}");
    assert!(ended.out.contains("all data in one place"), "{ended:?}");
    let report: Value =
        serde_json::from_slice(&fs::read(dir.join("report.json")).unwrap()).unwrap();
    for compared in ["local_only_best", "centralized"] {
        assert!(
            report["comparison"][compared]["vqa_accuracy"].is_f64(),
            "{compared} of {report:#}"
        );
    }

    let home = home(&dir, 2);
    let agreed = fs::read_to_string(home.join("federation.toml")).unwrap();
    for line in ["rank = 2\n", "alpha = 4.0\n", "dropout = 0.1\n"] {
        assert!(agreed.contains(line), "{line:?} in {agreed}");
    }
    let ended = witan(&["verify", "--home", path(&home)]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    what_it_learnt_is_exported(&home, &model, folder.path());
    what_was_exported_answers_and_draws_as_the_home_does(&home, &model, folder.path());
    what_was_exported_is_evaluated_as_the_home_is(&home, &model, folder.path());
    a_tower_is_agreed_on_and_asked_once(&home);
    another_base_is_refused(&home, &model, &folder.path().join("other"));
}

fn what_was_exported_answers_and_draws_as_the_home_does(home: &Path, model: &Path, folder: &Path) {
    let [adapter, picture] = [folder.join("peft"), model.join("picture.png")];
    let named = [
        &["--home", path(home)][..],
        &["--model", path(model), "--adapter", path(&adapter)],
        &["--home", path(home), "--round", "0"],
        &["--model", path(model)],
    ];
    let answers = named.map(|flags| {
        let ask = ["ask", path(&picture), "what is it?", "--tokens", "4"];
        let ended = witan(&[&ask, flags].concat());
        assert_eq!(ended.code, Some(0), "{ended:?}");
        ended.out
    });
    let file = folder.join("drawn.safetensors");
    let drawings = named.map(|flags| {
        let ended = witan(&[&["draw", "a red star", "--out", path(&file)], flags].concat());
        assert_eq!(ended.code, Some(0), "{ended:?}");
        fs::read(&file).unwrap()
    });
    assert!(answers[0] == answers[1] && answers[2] == answers[3], "{answers:?}");
    assert!(drawings[0] == drawings[1] && drawings[2] == drawings[3]);
    assert!(drawings[0] != drawings[2], "it learned");
    let prompts = folder.join("prompts.txt");
    fs::write(&prompts, "a red star").unwrap();
    let sheet = ["draw", "--prompts", path(&prompts), "--sheet", "/dev/null"];
    witan(&[&sheet, named[0]].concat()).refused(2, "no sheet can show", "--out FOLDER");
    let shown = witan(&["data", "show", "--home", path(home)]);
    assert!(shown.code == Some(0) && !shown.out.contains("can be taught"), "{shown:?}");
}

fn what_was_exported_is_evaluated_as_the_home_is(home: &Path, model: &Path, folder: &Path) {
    let (adapter, results) = (folder.join("peft"), folder.join("results.json"));
    let scored = |flags: &[&str]| {
        let ended = witan(&[&["eval", "--json", "--results", path(&results)], flags].concat());
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let report: Value = serde_json::from_str(&ended.out).unwrap();
        let answers: Value = serde_json::from_slice(&fs::read(&results).unwrap()).unwrap();
        assert_eq!(report["questions"], answers.as_array().unwrap().len());
        assert!(report["vqa_accuracy"].is_f64() && report["drawing_accuracy"].is_null());
        (report["vqa_accuracy"].clone(), answers)
    };
    let of_home = scored(&["--home", path(home)]);
    let of_model = scored(&["--model", path(model), "--adapter", path(&adapter)]);
    assert_eq!(of_home, of_model);
    let drawn = folder.join("drawn");
    let flags = ["eval", "--model", path(model), "--geneval-export", path(&drawn)];
    witan(&flags).refused(2, "draws features", "witan draw --model");
}

#[test]
fn prompts_of_any_class_are_drawn_into_folders_as_genevals() {
    let folder = tempfile::tempdir().unwrap();
    let (prompts, out) = (folder.path().join("prompts.jsonl"), folder.path().join("drawn"));
    let include = r#""include": [{"class": "bench", "count": 1}]"#;
    let line = format!(r#"{{"tag": "single_object", {include}, "prompt": "a bench"}}"#);
    fs::write(&prompts, format!("{line}\n{}\n", line.replace("bench", "cow"))).unwrap();
    let model = pinned("blip3o");
    let draw = ["draw", "--model", path(&model), "--prompts", path(&prompts), "--images", "2"];
    let draw = [&draw[..], &["--out", path(&out)]].concat();
    let ended = witan(&draw);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let read = |name: &str| fs::read(out.join(name)).unwrap();
    let sample =
        |number: usize, image: usize| read(&format!("0000{number}/samples/000{image}.safetensors"));
    let kept: Value = serde_json::from_slice(&read("00001/metadata.jsonl")).unwrap();
    assert_eq!(kept, serde_json::from_str::<Value>(&line.replace("bench", "cow")).unwrap());
    let all = [sample(0, 0), sample(0, 1), sample(1, 0), sample(1, 1)];
    assert!((1..4).all(|at| all[at] != all[at - 1]));
    let one = folder.path().join("one.safetensors");
    witan(&["draw", "--model", path(&model), "a bench", "--seed", "1", "--out", path(&one)]);
    assert_eq!(fs::read(one).unwrap(), all[1], "the second is the first of the next seed");
    witan(&draw).refused(3, "is not empty", "--out");
    fs::write(&prompts, "{\"tag\": \"single_object\"}").unwrap();
    witan(&draw).refused(3, "line 1", "GenEval");
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
    assert!(ended.out.contains("ask --model") && ended.out.contains("blip3o"), "{ended:?}");
    let drawn = |name: &str, flags: &[&str]| {
        let file = folder.join(name);
        let draw = ["draw", "--model", path(model), "a red star", "--out", path(&file)];
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
    let lora = ["--no-compare", "--lora-targets", "q_porj"];
    testnet(&pinned("blip3o"), &lora).refused(3, "no layer of the model is called", "q_proj");
    for (flag, value) in
        [("--lora-dropout", "1"), ("--lora-dropout", "nan"), ("--lora-alpha", "-3")]
    {
        testnet(&pinned("blip3o"), &[flag, value]).refused(2, flag, "usual");
    }
    assert!(!dir.exists());
}
