//! What members train on: shown, shared out by kind, read from captions; and bad data named in one
//! line.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;
use witan_data::Picture;

use crate::support::{TESTNET, home, path, witan};

/// Forty images in two colours with their captions, every second with the rule of it.
fn pairs() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let mut lines = String::new();
    for number in 0..40_u8 {
        let name = format!("{number}.png");
        let (colour, rgb) =
            [("red", [200, number, 0]), ("blue", [0, number, 200])][number as usize % 2];
        fs::write(folder.path().join(&name), Picture::plain(rgb).to_png().unwrap()).unwrap();
        let caption = format!("a {colour} circle");
        let include = json!([{"class": "circle", "count": 1, "color": colour}]);
        let prompt = json!({"tag": "colors", "prompt": &caption, "include": include});
        let mut line = json!({"image": name, "caption": caption});
        if number % 2 == 1 {
            line["prompt"] = prompt;
        }
        lines += &format!("{line}\n");
    }
    let file = folder.path().join("pairs.jsonl");
    fs::write(&file, lines).unwrap();
    (folder, file)
}

fn testnet(flags: &[&str]) -> (TempDir, Value) {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("new");
    let common = ["--rounds", "1", "--json", "--dir", path(&dir)];
    let ended = witan(&[TESTNET, &common, flags].concat());
    assert_eq!(ended.code, Some(0), "{ended:?}");
    (folder, serde_json::from_str(&ended.out).unwrap())
}

#[test]
fn members_with_questions_and_members_with_captions_train_together() {
    let (folder, report) = testnet(&["--by", "modality"]);
    assert_eq!(report["by"], "modality");
    assert_eq!(report["rounds"][0]["included"], 4, "{report:#}");
    let first = home(&folder.path().join("new"), 0);
    let round = witan(&["rounds", "--home", path(&first), "--json"]);
    let round: Value = serde_json::from_str(&round.out).unwrap();
    for included in round["included"].as_array().unwrap() {
        let scores = &included["update"]["scores"];
        let asks = ["node-00", "node-02"].contains(&included["member"].as_str().unwrap());
        assert_eq!(scores["vqa_accuracy"].is_number(), asks, "{included:#}");
        assert_eq!(scores["drawing_accuracy"].is_number(), !asks, "{included:#}");
    }
    assert!(round["mean_scores"]["vqa_accuracy"].is_number());
    let shown = witan(&["data", "show", "--home", path(&first), "--json"]);
    let shown: Value = serde_json::from_str(&shown.out).unwrap();
    assert_eq!(shown["captions"], json!({"training": 0, "held_out": 0}));
}

#[test]
fn captions_alone_are_trained_on_and_those_with_a_rule_are_scored() {
    let (_pairs, file) = pairs();
    let (folder, report) = testnet(&["--captions", path(&file), "--iid"]);
    let federated = &report["comparison"]["federated"];
    assert_eq!(federated["vqa_accuracy"], Value::Null, "{report:#}");
    assert!(federated["drawing_accuracy_by_task"]["colors"].is_number(), "{report:#}");
    let dir = folder.path().join("new");
    let ended = witan(&["eval", "--home", path(&home(&dir, 1)), "--json"]);
    let found: Value = serde_json::from_str(&ended.out).unwrap();
    // Four images are held out, two of them with a rule.
    assert_eq!((&found["prompts"], &found["questions"]), (&json!(4), &json!(0)), "{found:#}");
    assert_eq!(found["drawing_accuracy"], federated["drawing_accuracy"]);
}

#[test]
fn a_share_is_shown_in_words_as_json_and_as_a_picture() {
    let (folder, file) = pairs();
    let sheet = folder.path().join("sheet.png");
    let show = ["data", "show", "--captions", path(&file), "--node", "1", "--nodes", "2", "--iid"];
    let ended = witan(&[&show[..], &["--out", path(&sheet)]].concat());
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for told in
        ["node 1 of 2, iid, seed 1", "18 captions", "captions by first object", "no rule     █"]
    {
        assert!(ended.out.contains(told), "{told} in {ended:?}");
    }
    assert!(fs::read(&sheet).unwrap().starts_with(b"\x89PNG"));
    assert!(!ended.out.contains("can be taught"), "it knows every word: {ended:?}");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("a blue circle", "a pleural effusion")).unwrap();
    let ended = witan(&show);
    assert!(ended.out.contains("it trains on can be taught to the embedded model"), "{ended:?}");
    let scenes = witan(&["data", "show", "--by", "answer-type", "--node", "2", "--json"]);
    let scenes: Value = serde_json::from_str(&scenes.out).unwrap();
    assert_eq!(scenes["answer_types"].as_array().unwrap().len(), 1, "{scenes:#}");
    witan(&["data", "show", "--node", "16"]).refused(2, "--node 16", "from 0");
    let ended = witan(&[&show[..], &["--out", path(&folder.path().join("none/x.png"))]].concat());
    ended.refused(5, "cannot write", "--out");
}

#[test]
fn a_sheet_of_prompts_is_drawn_and_a_word_nobody_knows_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (prompts, sheet) = (folder.path().join("prompts.txt"), folder.path().join("sheet.png"));
    fs::write(&prompts, "a red circle\n\ntwo blue squares\n").unwrap();
    let adapter = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../model/adapter/tests/peft");
    let draw = ["draw", "--adapter", path(&adapter), "--prompts", path(&prompts), "--sheet"];
    let ended = witan(&[&draw[..], &[path(&sheet)]].concat());
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(fs::read(&sheet).unwrap().starts_with(b"\x89PNG"));
    fs::write(&prompts, "a red zyzzyva").unwrap();
    witan(&[&draw[..], &["/dev/null"]].concat()).refused(3, "zyzzyva", "ask --words");
    fs::write(&prompts, "\n").unwrap();
    witan(&[&draw[..], &["/dev/null"]].concat()).refused(3, "there is no line", "each line");
}

#[test]
fn captions_that_cannot_be_used_are_named_by_file_and_line() {
    let (folder, file) = pairs();
    let out = folder.path().join("new");
    let whole = fs::read_to_string(&file).unwrap();
    let lines: Vec<_> = whole.lines().collect();
    for (broken, what) in [
        (&lines[2][..20], "pairs.jsonl, line 3, column 20: EOF"),
        (
            r#"{"image": 2, "caption": "a red circle"}"#,
            "pairs.jsonl, line 3, column 11: invalid type",
        ),
        (r#"{"image": "none.png", "caption": "a red circle"}"#, "line 3: there is no image"),
    ] {
        fs::write(&file, whole.replacen(lines[2], broken, 1)).unwrap();
        let flags = ["--rounds", "1", "--captions", path(&file), "--dir", path(&out)];
        witan(&[TESTNET, &flags].concat()).refused(3, what, "\"caption\"");
    }
    fs::write(&file, &whole).unwrap();
    fs::write(folder.path().join("7.png"), bomb()).unwrap();
    let flags = ["--rounds", "1", "--captions", path(&file), "--dir", path(&out)];
    let ended = witan(&[TESTNET, &flags].concat());
    ended.refused(3, "line 8: the image in ", "");
    assert!(ended.err.contains("7.png cannot be read: 60000 × 60000 pixels"), "{ended:?}");
    assert!(!out.exists());
}

#[test]
fn a_picture_that_unfolds_to_gigabytes_is_refused_by_its_header() {
    let folder = tempfile::tempdir().unwrap();
    let picture = folder.path().join("bomb.png");
    fs::write(&picture, bomb()).unwrap();
    let adapter = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../model/adapter/tests/peft");
    let ended = witan(&["ask", "--adapter", path(&adapter), path(&picture), "what shape is it?"]);
    ended.refused(3, "bomb.png: 60000 × 60000 pixels, at most 4096", "PNG or JPEG");
}

#[test]
fn numbers_that_are_none_are_named_with_their_tensor() {
    let folder = tempfile::tempdir().unwrap();
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../model");
    let copy = |from: &str, names: [&str; 2]| {
        names.iter().for_each(|name| {
            fs::copy(model.join(from).join(name), folder.path().join(name)).unwrap();
        });
    };
    copy("tests/parity/llama", ["config.json", "model.safetensors"]);
    spoil(&folder.path().join("model.safetensors"));
    let ended = witan(&["model", "check", path(folder.path())]);
    ended.refused(3, "not finite", "");
    assert!(ended.err.contains("model."), "the tensor is named: {ended:?}");
    copy("adapter/tests/peft", ["adapter_config.json", "adapter_model.safetensors"]);
    spoil(&folder.path().join("adapter_model.safetensors"));
    let draw = ["draw", "a red circle", "--out", "/dev/null", "--adapter", path(folder.path())];
    let ended = witan(&draw);
    ended.refused(3, "adapter_model.safetensors", "of the embedded model");
    assert!(ended.err.contains("lora_"), "the tensor is named: {ended:?}");
}

/// Makes the last number of a safetensors file NaN, whether it has two bytes or four.
fn spoil(file: &Path) {
    let mut bytes = fs::read(file).unwrap();
    let end = bytes.len();
    bytes[end - 2..].copy_from_slice(&[0xc0, 0x7f]);
    fs::write(file, bytes).unwrap();
}

/// A PNG of a few bytes that claims 60 000 pixels a side.
fn bomb() -> Vec<u8> {
    let mut png = Picture::plain([0; 3]).to_png().unwrap();
    png[16..20].copy_from_slice(&60_000_u32.to_be_bytes());
    png[20..24].copy_from_slice(&60_000_u32.to_be_bytes());
    let checksum = !png[12..29].iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 }
        })
    });
    png[29..33].copy_from_slice(&checksum.to_be_bytes());
    png
}
