//! `witan train --model`: a checkpoint is trained as the embedded model is, and what changed under
//! a training is named.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::{Ended, Running, path, pinned, witan};

/// Two members' scenes, steps of two questions and a caption.
const DATA: &str = "--scenes 16 --nodes 2 --rounds 1 --batch-questions 2 --batch-captions 1";

#[test]
fn an_interrupted_training_of_a_checkpoint_goes_on_to_the_same_bytes() {
    let out = tempfile::tempdir().unwrap();
    let [whole, parts] = ["whole", "parts"].map(|name| out.path().join(name));
    let model = pinned("blip3o");
    let expected = trained(&[&train(&model, &whole, "--local-steps 60")[..], &["--json"]].concat());
    let report: Value = serde_json::from_str(&expected.out).unwrap();
    let row = &report["trained"][0];
    assert_eq!((&row["steps"], &row["examples"]), (&120.into(), &360.into()), "{report:#}");
    assert!(row["vqa_accuracy"].is_f64() && row["drawing_accuracy"].is_null(), "{report:#}");

    interrupted(&train(&model, &parts, "--local-steps 60"), "step 1 of 120");
    let resumed = trained(&["train", "--resume", "--json", "--dir", path(&parts)]);
    assert_eq!(resumed.out, expected.out);
    let adapter = |dir: &Path| fs::read(dir.join("central/adapter_model.safetensors")).unwrap();
    assert!(adapter(&whole) == adapter(&parts));
}

#[test]
fn every_member_of_a_checkpoint_alone_is_trained_and_asked() {
    let out = tempfile::tempdir().unwrap();
    let (dir, model) = (out.path().join("alone"), pinned("blip3o"));
    let flags = ["--local-steps", "1", "--local-only", "--by", "modality"];
    let ended = trained(&[&train(&model, &dir, "--threads 1")[..], &flags].concat());
    assert!(ended.out.contains(" ask --model ") && !ended.out.contains("words"), "{ended:?}");
    let [picture, adapter] = [model.join("picture.png"), dir.join("member-01")];
    let adapted = ["--model", path(&model), "--adapter", path(&adapter)];
    trained(&[&["ask"][..], &adapted, &[path(&picture), "what?"]].concat());

    // Without its tower the second member, who has captions only, learns nothing.
    let (blind, dir) = (out.path().join("blind"), out.path().join("half"));
    copy(&model, &blind);
    fs::remove_dir_all(blind.join(TOWER)).unwrap();
    let ended = trained(&[&train(&blind, &dir, "--threads 1")[..], &flags].concat());
    assert!(ended.err.contains("captions are left out"), "{ended:?}");
    assert!(ended.err.contains("member 01 alone: nothing that these steps"), "{ended:?}");
}

#[test]
fn a_tower_or_base_that_changed_under_a_training_is_named() {
    let out = tempfile::tempdir().unwrap();
    let (model, dir) = (out.path().join("model"), out.path().join("new"));
    copy(&pinned("blip3o"), &model);
    interrupted(&train(&model, &dir, "--local-steps 60"), "step 1 of 120");
    let resume = ["train", "--resume", "--dir", path(&dir)];
    let tower = model.join(TOWER);
    fs::rename(&tower, out.path().join("away")).unwrap();
    witan(&resume).refused(3, "base.json is of another training", "remove it");
    fs::rename(out.path().join("away"), &tower).unwrap();
    let bounds = model.join("preprocessor_config.json");
    let agreed = fs::read(&bounds).unwrap();
    fs::write(&bounds, "{\"min_pixels\": 1024, \"max_pixels\": 1024}").unwrap();
    witan(&resume).refused(3, "other data, settings, base or tower", "--resume");
    fs::write(&bounds, agreed).unwrap();
    trained(&resume);

    let lock = fs::File::open(dir.join("train.json")).unwrap();
    lock.lock().unwrap();
    witan(&resume).refused(3, "another `witan train` works in", "--dir");
}

#[test]
fn what_cannot_be_trained_is_refused_before_anything_is_made() {
    let out = tempfile::tempdir().unwrap();
    let (model, dir) = (out.path().join("model"), out.path().join("new"));
    witan(&train(&pinned("llama"), &dir, "--threads 1")).refused(3, "neither sees", "BLIP3o");
    let whole = pinned("blip3o");
    for targets in ["qkv", "q_proj,proj"] {
        let args = [&train(&whole, &dir, "--threads 1")[..], &["--lora-targets", targets]];
        witan(&args.concat()).refused(3, "no layer of the model is called", "q_proj,k_proj");
    }
    copy(&whole, &model);
    let file = model.join(TOWER).join("model.safetensors");
    let whole = fs::read(&file).unwrap();
    fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    witan(&train(&model, &dir, "--threads 1")).refused(3, TOWER, "");
    fs::remove_dir_all(model.join(TOWER)).unwrap();
    let questions = DATA.replace("questions 2", "questions 0");
    let args = ["train", "--model", path(&model), "--dir", path(&dir)].into_iter();
    let none: Vec<_> = args.chain(questions.split(' ')).collect();
    witan(&none).refused(3, "nothing that these steps can teach", "captions need");
    assert!(!dir.exists());
}

fn train<'a>(model: &'a Path, dir: &'a Path, flags: &'a str) -> Vec<&'a str> {
    let args = ["train", "--model", path(model), "--dir", path(dir)].into_iter();
    args.chain(DATA.split(' ')).chain(flags.split(' ')).collect()
}

#[track_caller]
fn trained(args: &[&str]) -> Ended {
    let ended = witan(args);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    ended
}

fn interrupted(args: &[&str], at: &str) {
    let mut training = Running::start(args);
    training.until(at);
    training.signal("-INT");
    let (status, said) = training.ended();
    assert_eq!(status.code(), Some(130), "{said:#?}");
    for told in ["targets of drawings: ", "evaluating: "] {
        assert!(said.iter().any(|line| line.starts_with(told)), "{told} in {said:#?}");
    }
}

/// A folder with all that is in it.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (path, copied) = (entry.path(), to.join(entry.file_name()));
        match path.is_dir() {
            true => copy(&path, &copied),
            false => drop(fs::copy(&path, &copied).unwrap()),
        }
    }
}

const TOWER: &str = "eva_clip_vision_tower";
