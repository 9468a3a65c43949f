//! A folder of VQA v2's files shared out among members, and folders that are refused.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::*;
use crate::Picture;
use serde_json::{Value, json};

const IMAGES: u64 = 40;
const MEMBERS: usize = 4;

/// A folder of two splits; every image has a colour of its own, two questions and a caption.
struct Folder {
    dir: tempfile::TempDir,
}

impl Folder {
    fn new() -> Self {
        let folder = Self { dir: tempfile::tempdir().unwrap() };
        for split in ["train2014", "val2014"] {
            std::fs::create_dir(folder.file(split)).unwrap();
            let mut captions = String::new();
            for id in 0..IMAGES {
                let picture = Picture::plain([id as u8 * 6, 0, 255 - id as u8 * 6]);
                std::fs::write(folder.image(split, id), picture.to_png().unwrap()).unwrap();
                let include = json!([{"class": "circle", "count": 1, "color": colour(id)}]);
                let text = format!("a {} circle", colour(id));
                let prompt = json!({"tag": "colors", "include": include, "prompt": text});
                captions += &format!("{}\n", json!({"image_id": id, "prompt": prompt}));
            }
            std::fs::write(folder.file(&format!("captions_{split}.jsonl")), captions).unwrap();
            folder.write(&questions_name(split), json!({"questions": both(question)}));
            folder.write(&annotations_name(split), json!({"annotations": both(annotation)}));
        }
        folder
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn image(&self, split: &str, id: u64) -> PathBuf {
        self.file(&format!("{split}/COCO_{split}_{id:012}.png"))
    }

    fn write(&self, name: &str, value: Value) {
        std::fs::write(self.file(name), value.to_string()).unwrap();
    }

    fn source(&self, index: usize) -> DataSource {
        let share = Share { index, of: MEMBERS, alpha: Some(0.1), by: None, seed: 5 };
        DataSource::Vqa { path: self.dir.path().to_owned(), captions: None, share }
    }

    /// What a person is told of this folder, which must hold all of `what` and the way out.
    fn is_refused(&self, what: &[&str]) {
        let failure = self.source(0).check(Some(&Tokenizer::new())).unwrap_err();
        for part in what {
            assert!(failure.message.contains(part), "{failure}");
        }
        assert!(failure.hint.unwrap().contains("scripts/easy_vqa.py"));
    }
}

fn colour(id: u64) -> &'static str {
    ["red", "blue", "green", "teal"][id as usize % 4]
}

fn both(entry: impl Fn(u64, u64) -> Value) -> Vec<Value> {
    (0..IMAGES).flat_map(|id| [entry(id, 0), entry(id, 1)]).collect()
}

fn question(id: u64, number: u64) -> Value {
    let text = ["what color is it?", "is there a circle?"][number as usize];
    json!({"question_id": id * 1000 + number, "image_id": id, "question": text})
}

fn annotation(id: u64, number: u64) -> Value {
    let answer = [colour(id), "yes"][number as usize];
    let kind = ["other", "yes/no"][number as usize];
    json!({
        "question_id": id * 1000 + number,
        "image_id": id,
        "question_type": "none of the above",
        "answer_type": kind,
        "multiple_choice_answer": answer,
        "answers": vec![json!({"answer": answer}); 10],
    })
}

fn questions_name(split: &str) -> String {
    format!("v2_OpenEnded_mscoco_{split}_questions.json")
}

fn annotations_name(split: &str) -> String {
    format!("v2_mscoco_{split}_annotations.json")
}

fn ids(dataset: &Dataset) -> BTreeSet<u64> {
    dataset.questions.iter().map(|question| question.question_id).collect()
}

#[test]
fn members_share_a_folder_without_overlap_and_none_is_empty() {
    let folder = Folder::new();
    let whole = folder.source(0).pool().unwrap();
    let mut seen = BTreeSet::new();
    for (index, part) in whole.parts.iter().enumerate() {
        let data = folder.source(index).member_data().unwrap();
        assert!(!data.training.questions.is_empty() && !data.training.captions.is_empty());
        let mine: BTreeSet<u64> = &ids(&data.training) | &ids(&data.held_out);
        assert_eq!(mine, ids(&whole.whole.subset(&part.questions, &part.captions)));
        assert!(mine.is_disjoint(&seen));
        seen.extend(mine);
        // A picture that is held out is not trained on under another question.
        let trained = &data.training.pictures;
        assert!(data.held_out.pictures.iter().all(|picture| !trained.contains(picture)));
    }
    assert_eq!(seen.len() as u64, 2 * IMAGES);
}

#[test]
fn every_member_computes_the_same_partition() {
    let folder = Folder::new();
    let parts = |index| folder.source(index).pool().unwrap().parts;
    assert!((1..MEMBERS).all(|index| parts(index) == parts(0)));
}

#[test]
fn the_evaluation_set_is_the_validation_split() {
    let folder = Folder::new();
    let set = folder.source(0).evaluation_set(Extent::Whole).unwrap();
    assert_eq!(set.dataset.questions.len() as u64, 2 * IMAGES);
    assert_eq!(set.prompts.len() as u64, IMAGES);
    assert_eq!(set.prompts.iter().filter(|case| case.is_new).count() as u64, IMAGES / 4);
    std::fs::remove_file(folder.file("captions_val2014.jsonl")).unwrap();
    assert!(folder.source(0).evaluation_set(Extent::Sample).unwrap().prompts.is_empty());
}

#[test]
fn a_member_decodes_its_own_images_only() {
    let folder = Folder::new();
    let part = &folder.source(1).pool().unwrap().parts[1];
    let mine: BTreeSet<usize> = part.questions.iter().map(|question| question / 2).collect();
    let mine = &mine | &part.captions.iter().copied().collect();
    let other = (0..IMAGES).find(|id| !mine.contains(&(*id as usize))).unwrap();
    std::fs::write(folder.image("train2014", other), b"no image").unwrap();
    folder.source(1).member_data().unwrap();
    let failures = (0..MEMBERS).filter_map(|index| folder.source(index).member_data().err());
    let failures: Vec<String> = failures.map(|failure| failure.message).collect();
    assert!(!failures.is_empty());
    assert!(failures.iter().all(|text| text.contains(&format!("image {other} in "))));
}

#[test]
fn a_wrong_folder_is_refused_before_anything_is_started() {
    let folder = Folder::new();
    folder.source(0).check(Some(&Tokenizer::new())).unwrap();
    std::fs::remove_file(folder.image("val2014", 7)).unwrap();
    folder.is_refused(&["image 7 is missing", "COCO_val2014_000000000007"]);

    let folder = Folder::new();
    std::fs::remove_file(folder.file(&annotations_name("train2014"))).unwrap();
    folder.is_refused(&["missing file", "v2_mscoco_train2014_annotations.json"]);

    let folder = Folder::new();
    let path = folder.file(&questions_name("val2014"));
    let text = std::fs::read(&path).unwrap();
    std::fs::write(&path, &text[..text.len() / 2]).unwrap();
    folder.is_refused(&["val2014_questions.json", "EOF"]);

    let folder = Folder::new();
    let mut twice = both(question);
    twice.push(question(3, 1));
    folder.write(&questions_name("train2014"), json!({"questions": twice}));
    folder.is_refused(&["train2014_questions.json", "question 3001 twice"]);

    let folder = Folder::new();
    let mut fewer = both(annotation);
    fewer.remove(0);
    folder.write(&annotations_name("train2014"), json!({"annotations": fewer}));
    folder.is_refused(&["train2014_annotations.json", "no annotation for question 0"]);
}

#[test]
fn more_members_than_questions_are_refused() {
    let folder = Folder::new();
    let share = Share { index: 0, of: 200, alpha: Some(0.5), by: None, seed: 5 };
    let source = DataSource::of(Some(folder.dir.path().into()), None, 5, share);
    let failure = source.check(Some(&Tokenizer::new())).unwrap_err();
    assert!(failure.message.contains("80 examples are too few for 200 members"), "{failure}");
}
