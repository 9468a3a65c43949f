//! `witan eval` says how good a model is, and writes what the official scorers read.

use std::fs;

use serde_json::Value;

use crate::support::{finished, path, witan};

#[test]
fn a_home_is_evaluated_as_the_launcher_evaluated_it() {
    let ended = witan(&["eval", "--home", path(&finished().home(2)), "--json"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let found: Value = serde_json::from_str(&ended.out).unwrap();
    let judged = &finished().report["comparison"]["federated"];
    for (name, value) in judged.as_object().unwrap() {
        assert_eq!(&found[name], value, "{name}");
    }
    assert_eq!(found["drawing_ceiling"], finished().report["drawing_ceiling"]);
    for (name, count) in [
        ("vqa_accuracy_by_answer_type", 3),
        ("drawing_accuracy_by_task", 6),
        ("drawing_ceiling_by_task", 6),
    ] {
        assert_eq!(found[name].as_object().unwrap().len(), count, "{name} of {found:#}");
    }
    let base = witan(&["eval", "--home", path(&finished().home(2)), "--round", "0", "--json"]);
    let base: Value = serde_json::from_str(&base.out).unwrap();
    let judged = &finished().report["comparison"]["base"];
    assert_eq!(base["vqa_accuracy"], judged["vqa_accuracy"]);
}

#[test]
fn answers_and_drawings_are_written_for_the_official_scorers_and_never_over_others() {
    let folder = tempfile::tempdir().unwrap();
    let (results, drawings) = (folder.path().join("results.json"), folder.path().join("drawings"));
    let flags = ["--results", path(&results), "--geneval-export", path(&drawings)];
    let eval = [&["eval", "--images", "2", "--seed", "3"][..], &flags].concat();
    let ended = witan(&eval);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for told in ["VQA v2", "yes/no", "\"how many …\"", "color_attr", "mean of the tasks", "ceiling"]
    {
        assert!(ended.out.contains(told), "{told} in {ended:?}");
    }
    let answers: Vec<Value> = serde_json::from_slice(&fs::read(&results).unwrap()).unwrap();
    assert!(answers.len() > 500 && answers[0]["question_id"].is_u64(), "{}", answers[0]);
    assert!(answers.iter().all(|one| one["answer"].is_string()));
    assert_eq!(fs::read_dir(&drawings).unwrap().count(), 240);
    let last = drawings.join("00239");
    let metadata: Value =
        serde_json::from_slice(&fs::read(last.join("metadata.jsonl")).unwrap()).unwrap();
    assert_eq!(metadata["tag"], "color_attr");
    let samples = [0, 1].map(|image| fs::read(last.join(format!("samples/000{image}.png"))));
    let [first, second] = samples.map(Result::unwrap);
    assert!(first != second, "another image is drawn from other noise");
    witan(&eval).refused(3, "drawings is not empty", "--geneval-export");
}

#[test]
fn what_cannot_be_evaluated_is_refused() {
    let home = finished().home(2);
    let home = path(&home);
    witan(&["eval", "--home", home, "--round", "9"]).refused(
        3,
        "round 9 is not committed",
        "1 to 2",
    );
    witan(&["eval", "--images", "0"]).refused(2, "--images 0", "GenEval");
    witan(&["eval", "--vqa", home]).refused(3, "missing file", "easy_vqa.py");
    let nowhere = format!("{home}/none/results.json");
    witan(&["eval", "--results", &nowhere]).refused(5, &nowhere, "--results");
}
