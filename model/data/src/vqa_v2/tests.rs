//! A small folder in VQA v2's layout, and every way it can be wrong.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::*;
use crate::{Dataset, Picture};

/// A folder of two images and three questions that removes itself.
struct Folder {
    dir: PathBuf,
    questions: Value,
    annotations: Value,
}

impl Folder {
    fn new() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("witan-vqa-{}-{number}", std::process::id()));
        fs::create_dir_all(dir.join("train2014")).unwrap();
        let folder = Self {
            questions: json!({"info": {}, "questions": [
                {"question_id": 7000, "image_id": 7, "question": "What colour is it?"},
                {"question_id": 7001, "image_id": 7, "question": "Is it a triangle?"},
                {"question_id": 9000, "image_id": 9, "question": "How many?"},
            ]}),
            annotations: json!({"annotations": [
                annotation(7000, 7, "other", "red"),
                annotation(9000, 9, "number", "2"),
                annotation(7001, 7, "yes/no", "yes"),
            ]}),
            dir,
        };
        for (image_id, rgb) in [(7, [200, 0, 0]), (9, [0, 0, 200])] {
            fs::write(folder.image(image_id), Picture::plain(rgb).to_png().unwrap()).unwrap();
        }
        folder
    }

    fn image(&self, image_id: u64) -> PathBuf {
        self.dir.join(format!("train2014/COCO_train2014_{image_id:012}.png"))
    }

    fn read(&self) -> Result<Dataset, DataError> {
        let write = |name: String, value: &Value| {
            fs::write(self.dir.join(name), value.to_string()).unwrap();
        };
        write(Split::Train.questions_file(), &self.questions);
        write(Split::Train.annotations_file(), &self.annotations);
        read(&self.dir, Split::Train)
    }

    /// The one line that a person is shown, which must name the file and what is in it.
    fn refusal(&self, file: &str, what: &str) {
        let text = self.read().unwrap_err().to_string();
        assert!(text.contains(file) && text.contains(what), "{text}");
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn read(dir: &Path, split: Split) -> Result<Dataset, DataError> {
    super::read(dir, split)?.whole()
}

fn annotation(question_id: u64, image_id: u64, kind: &str, answer: &str) -> Value {
    let answers: Vec<Value> = (1..=10)
        .map(|id| json!({"answer_id": id, "answer": answer, "answer_confidence": "yes"}))
        .collect();
    json!({
        "question_id": question_id, "image_id": image_id, "question_type": "none of the above",
        "answer_type": kind, "multiple_choice_answer": answer, "answers": answers,
    })
}

#[test]
fn a_whole_folder_is_read() {
    let folder = Folder::new();
    let caption = json!({"image_id": 9, "prompt": {
        "tag": "colors", "prompt": "a teal star",
        "include": [{"class": "star", "count": 1, "color": "teal"}],
    }});
    fs::write(folder.dir.join("captions_train2014.jsonl"), format!("{caption}\n")).unwrap();
    let dataset = folder.read().unwrap();
    assert_eq!(dataset.pictures, [Picture::plain([200, 0, 0]), Picture::plain([0, 0, 200])]);
    let seen: Vec<(u64, usize, &str, AnswerType, bool)> = dataset
        .questions
        .iter()
        .map(|one| (one.question_id, one.picture, &*one.answer, one.answer_type, one.is_new))
        .collect();
    assert_eq!(
        seen,
        [
            (7000, 0, "red", AnswerType::Other, false),
            (7001, 0, "yes", AnswerType::YesNo, true),
            (9000, 1, "2", AnswerType::Number, false),
        ]
    );
    assert_eq!(dataset.captions[0].caption, "a teal star");
    assert!(dataset.captions[0].is_new && dataset.captions[0].picture == 1);
}

#[test]
fn missing_files_are_named() {
    let folder = Folder::new();
    let missing = read(&folder.dir, Split::Val).unwrap_err().to_string();
    assert!(missing.contains("v2_OpenEnded_mscoco_val2014_questions.json"), "{missing}");
    fs::remove_file(folder.image(9)).unwrap();
    folder.refusal("COCO_train2014_000000000009", "image 9 is missing");
}

#[test]
fn a_cut_file_is_named() {
    let folder = Folder::new();
    folder.read().unwrap();
    let path = folder.dir.join(Split::Train.annotations_file());
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 40]).unwrap();
    let text = read(&folder.dir, Split::Train).unwrap_err().to_string();
    assert!(text.contains("annotations.json") && text.contains("EOF"), "{text}");
}

#[test]
fn wrong_types_are_named() {
    let mut folder = Folder::new();
    folder.questions["questions"][1]["image_id"] = json!("seven");
    folder.refusal("questions.json", "\"seven\"");
    let mut folder = Folder::new();
    folder.annotations["annotations"][0]["answer_type"] = json!("colour");
    folder.refusal("annotations.json", "question 7000");
}

#[test]
fn questions_and_annotations_must_match() {
    let mut folder = Folder::new();
    folder.annotations["annotations"].as_array_mut().unwrap().remove(1);
    folder.refusal("annotations.json", "no annotation for question 9000");
    let mut folder = Folder::new();
    folder.questions["questions"].as_array_mut().unwrap().remove(0);
    folder.refusal("annotations.json", "question 7000, which is not asked");
    let mut folder = Folder::new();
    folder.annotations["annotations"][0]["image_id"] = json!(9);
    folder.refusal("annotations.json", "is about image 7");
    let mut folder = Folder::new();
    folder.annotations["annotations"][0]["answers"].as_array_mut().unwrap().pop();
    folder.refusal("annotations.json", "question 7000 has 9 answers");
}

#[test]
fn repeated_ids_are_refused() {
    let mut folder = Folder::new();
    let again = folder.questions["questions"][0].clone();
    folder.questions["questions"].as_array_mut().unwrap().push(again);
    folder.refusal("questions.json", "question 7000 twice");
    let mut folder = Folder::new();
    let again = folder.annotations["annotations"][1].clone();
    folder.annotations["annotations"].as_array_mut().unwrap().push(again);
    folder.refusal("annotations.json", "question 9000 twice");
    let mut folder = Folder::new();
    folder.questions["questions"] = json!([]);
    folder.annotations["annotations"] = json!([]);
    folder.refusal("questions.json", "no question");
}

#[test]
fn an_unreadable_image_is_named() {
    let folder = Folder::new();
    fs::write(folder.image(7), b"not an image").unwrap();
    folder.refusal("COCO_train2014_000000000007.png", "image 7");
    let whole = Picture::plain([1, 2, 3]).to_png().unwrap();
    fs::write(folder.image(7), &whole[..40]).unwrap();
    folder.refusal("COCO_train2014_000000000007.png", "image 7");
}

#[test]
fn an_image_is_checked_by_its_header_or_whole() {
    let folder = Folder::new();
    folder.read().unwrap();
    let catalogue = super::read(&folder.dir, Split::Train).unwrap();
    catalogue.check_images().unwrap();
    let whole = fs::read(folder.image(9)).unwrap();
    fs::write(folder.image(9), &whole[..whole.len() - 20]).unwrap();
    catalogue.images.iter().try_for_each(Image::check_header).unwrap();
    let refusal = catalogue.check_images().unwrap_err().to_string();
    assert!(refusal.contains("image 9 in ") && refusal.contains("000009.png"), "{refusal}");
    fs::write(folder.image(9), b"not an image").unwrap();
    let refusal = catalogue.images[1].check_header().unwrap_err().to_string();
    assert!(refusal.contains("image 9 in ") && refusal.contains("not a png or jpeg"), "{refusal}");
}

#[test]
fn a_part_decodes_its_own_images_only() {
    let folder = Folder::new();
    folder.read().unwrap();
    fs::write(folder.image(9), b"not an image").unwrap();
    let catalogue = super::read(&folder.dir, Split::Train).unwrap();
    assert_eq!(catalogue.questions.len(), 3);
    let part = catalogue.subset(&[1], &[]).unwrap();
    assert_eq!(part.pictures, [Picture::plain([200, 0, 0])]);
    assert_eq!(part.questions[0].question_id, 7001);
    assert!(catalogue.subset(&[2], &[]).unwrap_err().to_string().contains("image 9"));
}

#[test]
fn a_sample_follows_from_its_seed() {
    let folder = Folder::new();
    folder.read().unwrap();
    let catalogue = super::read(&folder.dir, Split::Train).unwrap();
    let ids = |seed| -> Vec<u64> {
        let sample = catalogue.sample(2, 2, seed).unwrap();
        sample.questions.iter().map(|question| question.question_id).collect()
    };
    assert_eq!(ids(1).len(), 2);
    assert_eq!(ids(1), ids(1));
    assert!((2..40).any(|seed| ids(seed) != ids(1)));
    assert_eq!(catalogue.sample(9, 9, 1).unwrap(), catalogue.whole().unwrap());
}
