//! Questions of VQA v2's three answer types, each with one right answer.
//!
//! Yes/no questions are right half of the time. "The circle" is only said where there is one
//! circle, and a relation is only asked where the rule of
//! [`Found::is`](crate::prompt::Found::is) is clear. Wordings include easy-VQA's,
//! negated ones among them, so that real questions read alike.

mod describe;

use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use super::captions::with_article;
use super::{Concepts, Object, Question, Scene};
use crate::AnswerType;
use crate::vocabulary::{Relation, Vocabulary, number_word};
use describe::Description;

/// Two to four different questions about a scene.
pub(super) fn ask(
    rng: &mut ChaCha8Rng,
    vocabulary: Vocabulary,
    concepts: &Concepts,
    scene: &Scene,
) -> Vec<Question> {
    let wanted = rng.random_range(2..=4);
    let asker = Asker { vocabulary, concepts, objects: &scene.objects };
    let mut questions: Vec<Question> = Vec::with_capacity(wanted);
    for _ in 0..TRIES_MAX {
        if questions.len() == wanted {
            break;
        }
        // A kind that this scene does not allow yields none, and another is tried.
        let question = match rng.random_range(0..24) {
            0..5 => asker.is_there(rng),
            5..7 => asker.is_it(rng),
            7..10 => asker.is_placed(rng),
            10..13 => asker.how_many(rng),
            13..17 => asker.what_colour(rng),
            17..21 => asker.what_shape(rng),
            _ => asker.what_is_placed(rng),
        };
        let is_asked = |text: &str| questions.iter().any(|asked| asked.text == text);
        questions.extend(question.filter(|question| !is_asked(&question.text)));
    }
    questions
}

struct Asker<'a> {
    vocabulary: Vocabulary,
    concepts: &'a Concepts,
    objects: &'a [Object],
}

impl Asker<'_> {
    /// "is there a red circle?", "does the image not contain a star?"
    fn is_there(&self, rng: &mut ChaCha8Rng) -> Option<Question> {
        let is_present = rng.random_bool(0.5);
        let object = self.objects.choose(rng)?;
        let described = if is_present { self.describe(rng, object)? } else { self.absent(rng)? };
        let noun = self.noun(described, 1);
        let one = with_article(&noun);
        let (text, kind, is_negated) = match rng.random_range(0..10) {
            0..4 => (format!("is there {one}?"), "is there", false),
            4 => (format!("is there {one} in the image?"), "is there", false),
            5 => (format!("is {one} present?"), "is a", false),
            6 => (format!("does the image contain {one}?"), "does the image", false),
            7 => match rng.random_bool(0.5) {
                true => (format!("is there not {one}?"), "is there not", true),
                false => (format!("is there not {one} in the image?"), "is there not", true),
            },
            8 => (format!("is no {noun} present?"), "is no", true),
            _ => (format!("does the image not contain {one}?"), "does the image not", true),
        };
        Some(yes_no(text, is_present != is_negated, kind))
    }

    /// "is the circle red?", "is the red shape a circle?"
    fn is_it(&self, rng: &mut ChaCha8Rng) -> Option<Question> {
        let is_true = rng.random_bool(0.5);
        let object = self.objects.choose(rng)?;
        if rng.random_bool(0.5) {
            let described = Description { shape: Some(self.named_shape(object)?), colour: None };
            self.only(described)?;
            let right = self.named_colour(object)?;
            let wrong = other_than(rng, &self.concepts.colours, right)?;
            let colour = self.vocabulary.colour(if is_true { right } else { wrong })?;
            let text = format!("is the {} {colour}?", self.noun(described, 1));
            return Some(yes_no(text, is_true, "is the"));
        }
        let described = Description { shape: None, colour: Some(self.named_colour(object)?) };
        self.only(described)?;
        let right = self.named_shape(object)?;
        let wrong = other_than(rng, &self.concepts.shapes, right)?;
        let shape = self.vocabulary.shape(if is_true { right } else { wrong })?;
        let text = format!("is the {} {}?", self.noun(described, 1), with_article(shape));
        Some(yes_no(text, is_true, "is the"))
    }

    /// "is the circle left of the star?"; where the answer is no, the opposite holds.
    fn is_placed(&self, rng: &mut ChaCha8Rng) -> Option<Question> {
        let [one, other] = self.pair(rng)?;
        let relation = clear_relation(rng, one, other)?;
        let is_true = rng.random_bool(0.5);
        let asked = if is_true { relation } else { relation.opposite() };
        let subject = self.unique(rng, one)?;
        let object = self.unique(rng, other)?;
        let text = format!(
            "is the {} {} the {}?",
            self.noun(subject, 1),
            asked.name(),
            self.noun(object, 1)
        );
        Some(yes_no(text, is_true, "is the"))
    }

    /// "how many shapes are there?", "how many red circles are there?"
    fn how_many(&self, rng: &mut ChaCha8Rng) -> Option<Question> {
        let object = self.objects.choose(rng)?;
        let described = if rng.random_bool(0.4) {
            Description { shape: None, colour: None }
        } else {
            self.describe(rng, object)?
        };
        let count = self.objects.iter().filter(|object| described.fits(object)).count();
        Some(Question {
            text: format!("how many {} are there?", self.noun(described, 2)),
            answer: number_word(count).to_owned(),
            answer_type: AnswerType::Number,
            question_type: "how many",
        })
    }

    /// "what colour is the circle?"
    fn what_colour(&self, rng: &mut ChaCha8Rng) -> Option<Question> {
        let object = self.objects.choose(rng)?;
        let answer = self.vocabulary.colour(self.named_colour(object)?)?;
        let described = if self.objects.len() == 1 && rng.random_bool(0.3) {
            Description { shape: None, colour: None }
        } else {
            Description { shape: Some(self.named_shape(object)?), colour: None }
        };
        self.only(described)?;
        let noun = self.noun(described, 1);
        let spelling = if rng.random_bool(0.5) { "colour" } else { "color" };
        let text = match rng.random_bool(0.7) {
            true => format!("what {spelling} is the {noun}?"),
            false => format!("what is the {spelling} of the {noun}?"),
        };
        Some(other(text, answer, "what colour"))
    }

    /// "what shape is the red thing?", "what shape is in the image?"
    fn what_shape(&self, rng: &mut ChaCha8Rng) -> Option<Question> {
        let object = self.objects.choose(rng)?;
        let answer = self.vocabulary.shape(self.named_shape(object)?)?;
        if self.objects.len() == 1 && rng.random_bool(0.3) {
            let text = *["is in the image", "is present", "does the image contain"].choose(rng)?;
            return Some(other(format!("what shape {text}?"), answer, "what shape"));
        }
        let described = Description { shape: None, colour: Some(self.named_colour(object)?) };
        self.only(described)?;
        let colour = self.vocabulary.colour(object.colour)?;
        let text = match rng.random_bool(0.5) {
            true => format!("what shape is the {colour} thing?"),
            false => format!("what is the {colour} shape?"),
        };
        Some(other(text, answer, "what shape"))
    }

    /// "what is left of the star?", where one object clearly is and no other is nearly so.
    fn what_is_placed(&self, rng: &mut ChaCha8Rng) -> Option<Question> {
        let [one, reference] = self.pair(rng)?;
        let relation = clear_relation(rng, one, reference)?;
        let answer = self.vocabulary.shape(self.named_shape(one)?)?;
        let is_alone = self.objects.iter().all(|object| {
            object == one || object.found().lean(relation, &reference.found()) < UNCLEAR_LEAN
        });
        let described = self.unique(rng, reference)?;
        is_alone.then(|| {
            let noun = self.noun(described, 1);
            other(format!("what is {} the {noun}?", relation.name()), answer, "what is")
        })
    }
}

/// A relation that clearly holds from one object to the other.
fn clear_relation(rng: &mut ChaCha8Rng, one: &Object, other: &Object) -> Option<Relation> {
    let lean = |relation: &&Relation| one.found().lean(**relation, &other.found()) > CLEAR_LEAN;
    let holding: Vec<&Relation> = Relation::ALL.iter().filter(lean).collect();
    holding.choose(rng).map(|relation| **relation)
}

fn other_than<T: Copy + PartialEq>(rng: &mut ChaCha8Rng, all: &[T], right: T) -> Option<T> {
    let wrong: Vec<T> = all.iter().copied().filter(|one| *one != right).collect();
    wrong.choose(rng).copied()
}

fn yes_no(text: String, is_true: bool, question_type: &'static str) -> Question {
    let answer = if is_true { "yes" } else { "no" }.to_owned();
    Question { text, answer, answer_type: AnswerType::YesNo, question_type }
}

fn other(text: String, answer: &str, question_type: &'static str) -> Question {
    Question { text, answer: answer.to_owned(), answer_type: AnswerType::Other, question_type }
}

const TRIES_MAX: usize = 60;
/// Above the rule's 0.5, so that a relation asked about is plain to see.
const CLEAR_LEAN: f32 = 0.6;
/// Below this an object is plainly not in the relation.
const UNCLEAR_LEAN: f32 = 0.2;
