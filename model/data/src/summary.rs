//! A member's share of the data for people to look at: how many of what, and a contact sheet.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::Serialize;

use crate::fault::Fault;
use crate::partition::subject;
use crate::sheet::{Chart, Sheet, Tile};
use crate::source::{DataSource, MemberData, can_draw, can_learn};
use crate::tokenizer::Tokenizer;
use crate::{AnswerType, Dataset};

/// What a member has.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Pictures it trains on, and those it keeps aside for its own scores.
    pub pictures: Sides,
    /// Questions likewise.
    pub questions: Sides,
    /// Captions likewise.
    pub captions: Sides,
    /// Questions and captions it trains on whose words the model knows.
    pub taught: usize,
    /// Questions by VQA v2's kinds of answer.
    pub answer_types: Vec<Label>,
    /// Questions by answer, the most frequent first: what the Dirichlet partition goes by.
    pub answers: Vec<Label>,
    /// Captions by their first object likewise.
    pub subjects: Vec<Label>,
    #[serde(skip)]
    training: Dataset,
}

/// How many a member trains on, and how many it keeps aside.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Sides {
    /// Trained on.
    pub training: usize,
    /// Kept aside.
    pub held_out: usize,
}

/// A label and how often the member has it, both sides together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Label {
    /// The label.
    pub name: String,
    /// How often.
    pub count: usize,
}

impl Summary {
    /// Reads a member's share, to be taught to a model that knows only these words, or all if none.
    ///
    /// # Errors
    /// If the source is wrong, or has too little for so many members.
    pub fn read(source: &DataSource, words: Option<&Tokenizer>) -> Result<Self, Fault> {
        let MemberData { training, held_out } = source.member_data()?;
        let sides = |count: fn(&Dataset) -> usize| Sides {
            training: count(&training),
            held_out: count(&held_out),
        };
        let asked = training.questions.iter().filter(|it| can_learn(words, it)).count();
        let said = training.captions.iter().filter(|it| can_draw(words, it)).count();
        let questions = || training.questions.iter().chain(&held_out.questions);
        let captions = || training.captions.iter().chain(&held_out.captions);
        Ok(Self {
            pictures: sides(|data| data.pictures.len()),
            questions: sides(|data| data.questions.len()),
            captions: sides(|data| data.captions.len()),
            taught: asked + said,
            answer_types: labels(questions().map(|it| AnswerType::name(it.answer_type).to_owned())),
            answers: labels(questions().map(|it| it.answer.clone())),
            subjects: labels(captions().map(subject)),
            training,
        })
    }

    /// The label counts with their titles, the rare labels of each as one.
    pub fn charts(&self) -> Vec<(&'static str, Vec<Label>)> {
        let charts = [
            ("questions by type of answer", &self.answer_types),
            ("questions by answer", &self.answers),
            ("captions by first object", &self.subjects),
        ];
        let charts = charts.into_iter().filter(|(_, labels)| !labels.is_empty());
        charts.map(|(title, labels)| (title, shortened(labels))).collect()
    }

    /// Title, counts, and some pictures with all that is said of them, as PNG.
    ///
    /// # Errors
    /// Never, for pictures that were read.
    pub fn sheet(&self, title: &str, pictures_max: usize) -> Result<Vec<u8>, Fault> {
        let chart = |(title, labels): (&str, Vec<Label>)| Chart {
            title: title.to_owned(),
            bars: labels.into_iter().map(|label| (label.name, label.count)).collect(),
        };
        let Dataset { pictures, questions, captions } = &self.training;
        let mut said = vec![Vec::new(); pictures.len()];
        captions.iter().for_each(|it| said[it.picture].push(it.caption.clone()));
        let asked =
            questions.iter().map(|it| (it.picture, format!("{} {}", it.question, it.answer)));
        asked.for_each(|(picture, text)| said[picture].push(text));
        let tiles = pictures.iter().zip(said).take(pictures_max);
        let tiles = tiles.map(|(picture, said)| Tile {
            picture: picture.clone(),
            // One thing each: a picture of easy-VQA has up to 21 questions.
            text: said.into_iter().next().unwrap_or_default(),
        });
        let sheet = Sheet {
            title: vec![title.to_owned()],
            charts: self.charts().into_iter().map(chart).collect(),
            tiles: tiles.collect(),
            columns: COLUMNS,
            scale: SCALE,
        };
        sheet.to_png().map_err(Fault::input)
    }
}

fn labels(names: impl Iterator<Item = String>) -> Vec<Label> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    names.for_each(|name| *counts.entry(name).or_default() += 1);
    let labels = counts.into_iter().map(|(name, count)| Label { name, count });
    let mut labels: Vec<_> = labels.collect();
    labels.sort_by_key(|label| Reverse(label.count));
    labels
}

/// At most [`LABELS_MAX`], the last of them for all the rest.
fn shortened(labels: &[Label]) -> Vec<Label> {
    if labels.len() <= LABELS_MAX {
        return labels.to_vec();
    }
    let (shown, rest) = labels.split_at(LABELS_MAX - 1);
    let others = Label {
        name: format!("{} others", rest.len()),
        count: rest.iter().map(|label| label.count).sum(),
    };
    shown.iter().cloned().chain([others]).collect()
}

const LABELS_MAX: usize = 16;
const COLUMNS: usize = 8;
const SCALE: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{By, Share};

    fn shown(index: usize, by: Option<By>) -> Summary {
        let share = Share { index, of: 4, alpha: by.is_none().then_some(0.5), by, seed: 3 };
        Summary::read(&DataSource::Scenes { seed: 3, share, count: None }, None).unwrap()
    }

    #[test]
    fn every_question_and_caption_is_counted_once_and_rare_labels_together() {
        let shown = shown(1, None);
        let total = |labels: &[Label]| labels.iter().map(|label| label.count).sum::<usize>();
        let Sides { training, held_out } = shown.questions;
        assert_eq!(total(&shown.answers), training + held_out);
        assert_eq!(total(&shown.answer_types), training + held_out);
        let Sides { training, held_out } = shown.captions;
        assert_eq!(total(&shown.subjects), training + held_out);
        let charts = shown.charts();
        assert_eq!(charts.len(), 3);
        let (_, subjects) = &charts[2];
        assert_eq!((subjects.len(), total(subjects)), (LABELS_MAX, training + held_out));
        assert!(subjects[0].count >= subjects[1].count, "the most frequent first");
        assert!(subjects[15].name.ends_with(" others"));
    }

    #[test]
    fn a_member_of_one_modality_has_no_bars_of_the_other() {
        let titles = |shown: Summary| -> Vec<&str> {
            shown.charts().into_iter().map(|(title, _)| title).collect()
        };
        let [asked, captioned] = [0, 1].map(|index| titles(shown(index, Some(By::Modality))));
        assert_eq!(asked, ["questions by type of answer", "questions by answer"]);
        assert_eq!(captioned, ["captions by first object"]);
        assert!(!shown(1, Some(By::Modality)).sheet("member 1", 8).unwrap().is_empty());
    }
}
