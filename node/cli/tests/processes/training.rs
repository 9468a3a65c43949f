//! `witan train`: what is interrupted goes on to the same bytes, and what cannot go on is named.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::pictures::folder;
use crate::support::{Running, flip, path, witan};

/// Long enough to be interrupted, of so small a batch that it takes two seconds.
const FLAGS: &str = "--nodes 2 --rounds 1 --local-steps 200 --iid --batch-questions 2";

fn train<'a>(vqa: &'a Path, dir: &'a Path) -> Vec<&'a str> {
    let flags = ["train", "--vqa", path(vqa), "--dir", path(dir)];
    flags.into_iter().chain(FLAGS.split(' ')).collect()
}

#[test]
fn an_interrupted_training_goes_on_to_the_same_bytes() {
    let (vqa, out) = (folder(24), tempfile::tempdir().unwrap());
    let [whole, parts] = ["whole", "parts"].map(|name| out.path().join(name));
    let ended = witan(&[&train(vqa.path(), &whole)[..], &["--json"]].concat());
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let expected: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(expected["trained"][0]["steps"], 400, "{expected:#}");
    assert_eq!(expected["trained"][0]["examples"], 800, "{expected:#}");

    let mut training = Running::start(&train(vqa.path(), &parts));
    training.until("step 1 of 400");
    training.signal("-INT");
    let (status, said) = training.ended();
    assert_eq!(status.code(), Some(130), "{said:#?}");
    let [.., error, hint] = &said[..] else { panic!("{said:#?}") };
    assert!(error.starts_with("error: interrupted"), "{said:#?}");
    assert!(hint.contains("witan train --resume --dir"), "{said:#?}");

    let resume = ["train", "--resume", "--json", "--dir", path(&parts)];
    let state = parts.join("central.state");
    let bytes = fs::read(&state).unwrap();
    flip(&state, bytes.len() / 2);
    witan(&resume).refused(3, "central.state is cut or was altered", "remove it");
    fs::write(&state, &bytes).unwrap();
    let ended = witan(&resume);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(serde_json::from_str::<Value>(&ended.out).unwrap(), expected);
    let adapter = |dir: &Path| fs::read(dir.join("central/adapter_model.safetensors")).unwrap();
    assert!(adapter(&whole) == adapter(&parts));
    assert!(!state.exists(), "what is done needs no state");
    fs::write(whole.join("central.state"), &bytes).unwrap();
    fs::remove_file(whole.join("central.json")).unwrap();
    let order = whole.join("train.json");
    let text = fs::read_to_string(&order).unwrap();
    fs::write(&order, text.replace("\"threads\": 1", "\"threads\": 2")).unwrap();
    witan(&["train", "--resume", "--dir", path(&whole)]).refused(
        3,
        "is of another training",
        "remove it",
    );
}

#[test]
fn every_part_alone_is_trained_and_its_adapter_answers() {
    let (vqa, out) = (folder(24), tempfile::tempdir().unwrap());
    let dir = out.path().join("new");
    let flags = "--nodes 2 --rounds 1 --local-steps 2 --iid --local-only --json".split(' ');
    let args: Vec<_> = ["train", "--vqa", path(vqa.path()), "--dir", path(&dir)].into();
    let ended = witan(&args.into_iter().chain(flags).collect::<Vec<_>>());
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let report: Value = serde_json::from_str(&ended.out).unwrap();
    let names: Vec<_> =
        report["trained"].as_array().unwrap().iter().map(|it| &it["name"]).collect();
    assert_eq!(names, ["member-00", "member-01"], "{report:#}");
    let image = vqa.path().join("val2014/COCO_val2014_000000000000.png");
    let adapter = dir.join("member-01");
    let ask = ["ask", "--adapter", path(&adapter), path(&image), "is there a red circle?"];
    assert_eq!(witan(&ask).code, Some(0));
}

#[test]
fn flags_without_sense_and_folders_of_others_are_refused() {
    let out = tempfile::tempdir().unwrap();
    let dir = out.path().join("new");
    for (flags, what) in [
        ("--nodes 0", "--nodes 0"),
        ("--threads 0", "--threads 0"),
        ("--alpha 0", "--alpha 0"),
        ("--batch-questions 0 --batch-captions 0", "expected 1 to"),
        ("--learning-rate 0", "--learning-rate 0: expected more than 0, at most 1"),
        ("--learning-rate=-0.1", "--learning-rate -0.1: expected more than 0"),
        ("--scenes 0", "--scenes 0"),
    ] {
        let args = ["train", "--dir", path(&dir)].into_iter().chain(flags.split(' '));
        witan(&args.collect::<Vec<_>>()).refused(2, what, "");
    }
    let few = witan(&["train", "--dir", path(&dir), "--scenes", "3"]);
    few.refused(3, "too few for 16 members", "fewer members");
    assert!(!dir.exists());
    fs::write(out.path().join("mine"), "precious").unwrap();
    witan(&["train", "--dir", path(out.path())]).refused(3, "is not empty", "--dir");
    witan(&["train", "--resume", "--dir", path(out.path())]).refused(3, "train.json", "--dir");
}
