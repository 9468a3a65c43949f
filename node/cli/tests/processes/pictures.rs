//! Folders of pictures: what cannot be used is named before anything starts, or left out and told.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;
use witan_data::Picture;

use crate::support::{path, witan};

const IMAGES: u64 = 24;

/// A folder of VQA v2's files with one question an image, known to the model for the first `known`.
pub(crate) fn folder(known: u64) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for split in ["train2014", "val2014"] {
        fs::create_dir(folder.path().join(split)).unwrap();
        let (mut questions, mut annotations) = (Vec::new(), Vec::new());
        for id in 0..IMAGES {
            let picture = Picture::plain([id as u8 * 9, 40, 200]).to_png().unwrap();
            fs::write(image(folder.path(), split, id), picture).unwrap();
            let word = if id < known { "red" } else { "zyzzyva" };
            let text = format!("is there a {word} circle?");
            questions.push(json!({"question_id": id, "image_id": id, "question": text}));
            annotations.push(annotation(id, word));
        }
        let write = |name: String, value: Value| {
            fs::write(folder.path().join(name), value.to_string()).unwrap();
        };
        write(
            format!("v2_OpenEnded_mscoco_{split}_questions.json"),
            json!({"questions": questions}),
        );
        write(format!("v2_mscoco_{split}_annotations.json"), json!({"annotations": annotations}));
    }
    let captions = ["a red circle", "a zyzzyva circle"].map(|text| {
        let include = json!([{"class": "circle", "count": 1}]);
        let prompt = json!({"tag": "single_object", "prompt": text, "include": include});
        format!("{}\n", json!({"image_id": 0, "prompt": prompt}))
    });
    fs::write(folder.path().join("captions_val2014.jsonl"), captions.concat()).unwrap();
    folder
}

fn image(folder: &Path, split: &str, id: u64) -> std::path::PathBuf {
    folder.join(format!("{split}/COCO_{split}_{id:012}.png"))
}

fn annotation(id: u64, answer: &str) -> Value {
    json!({
        "question_id": id, "image_id": id, "question_type": "is there a", "answer_type": "other",
        "multiple_choice_answer": answer, "answers": vec![json!({"answer": answer}); 10],
    })
}

fn testnet<'a>(vqa: &'a TempDir, dir: &'a str) -> Vec<&'a str> {
    let flags = "testnet --nodes 4 --rounds 1 --local-steps 1 --alpha 0.1".split(' ');
    flags.chain(["--vqa", path(vqa.path()), "--dir", dir]).collect()
}

#[test]
fn who_has_nothing_to_train_on_sits_out_and_the_rest_go_on() {
    let (vqa, out) = (folder(8), tempfile::tempdir().unwrap());
    let ended = witan(&testnet(&vqa, path(&out.path().join("new"))));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for told in [
        "has nothing the model can be taught: it sits out",
        "sits out round 1: no question with a one-word answer and no caption: \
         unknown word \"zyzzyva\"",
        "1 of the 2 captions to be drawn are left out: unknown word \"zyzzyva\"",
    ] {
        assert!(ended.err.contains(told), "{told} in {ended:?}");
    }
    for row in ["best member alone", "all data in one place"] {
        assert!(ended.out.contains(row), "{row} in {ended:?}");
    }
    let report = fs::read(out.path().join("new/report.json")).unwrap();
    let report: Value = serde_json::from_slice(&report).unwrap();
    let round = &report["rounds"][0];
    let absent = round["absent"].as_array().unwrap().len() as u64;
    assert!(absent > 0 && round["included"] == json!(4 - absent), "{report:#}");
    assert!(round["drawing_accuracy"].is_number(), "the known caption is scored: {report:#}");
}

#[test]
fn a_picture_that_cannot_be_read_is_named_before_anything_is_made() {
    let (vqa, out) = (folder(IMAGES), tempfile::tempdir().unwrap());
    let dir = out.path().join("new");
    for split in ["train2014", "val2014"] {
        let file = image(vqa.path(), split, 3);
        let whole = fs::read(&file).unwrap();
        fs::write(&file, &whole[..whole.len() / 2]).unwrap();
        let what = format!("image 3 in {}", path(&file));
        witan(&testnet(&vqa, path(&dir))).refused(3, &what, "easy_vqa.py");
        fs::write(&file, whole).unwrap();
    }
    assert!(!dir.exists());
}

#[test]
fn a_folder_without_one_known_word_is_refused() {
    let (vqa, out) = (folder(0), tempfile::tempdir().unwrap());
    let ended = witan(&testnet(&vqa, path(&out.path().join("new"))));
    ended.refused(3, "has nothing the model can be taught", "witan ask --words");
}
