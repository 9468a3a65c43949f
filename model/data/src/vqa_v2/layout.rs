//! The names and JSON forms of VQA v2's files.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::prompt::Prompt;

/// VQA v2's splits that have annotations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// `train2014`
    Train,
    /// `val2014`
    Val,
}

impl Split {
    /// The name that COCO and VQA v2 use in file names.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train2014",
            Self::Val => "val2014",
        }
    }

    pub(super) fn questions_file(self) -> String {
        format!("v2_OpenEnded_mscoco_{}_questions.json", self.name())
    }

    pub(super) fn annotations_file(self) -> String {
        format!("v2_mscoco_{}_annotations.json", self.name())
    }

    pub(super) fn captions_file(self) -> String {
        format!("captions_{}.jsonl", self.name())
    }

    /// Where an image may be, likeliest first.
    pub(super) fn image_files(self, dir: &Path, image_id: u64) -> [PathBuf; 4] {
        let name = self.name();
        let stem = format!("COCO_{name}_{image_id:012}");
        let inside = dir.join(name);
        let file = |folder: &Path, ending: &str| folder.join(format!("{stem}.{ending}"));
        [file(&inside, "jpg"), file(&inside, "png"), file(dir, "jpg"), file(dir, "png")]
    }
}

#[derive(Deserialize)]
pub(super) struct Questions {
    pub questions: Vec<Question>,
}

#[derive(Deserialize)]
pub(super) struct Question {
    pub question_id: u64,
    pub image_id: u64,
    pub question: String,
}

#[derive(Deserialize)]
pub(super) struct Annotations {
    pub annotations: Vec<Annotation>,
}

#[derive(Deserialize)]
pub(super) struct Annotation {
    pub question_id: u64,
    pub image_id: u64,
    pub question_type: String,
    pub answer_type: String,
    pub multiple_choice_answer: String,
    pub answers: Vec<Answer>,
}

#[derive(Deserialize)]
pub(super) struct Answer {
    pub answer: String,
}

/// A line of our own captions file.
#[derive(Deserialize)]
pub(super) struct Caption {
    pub image_id: u64,
    pub prompt: Prompt,
}
