//! Rendered scenes: pictures whose every fact is known, with questions and captions made from them.
//!
//! A scene is a light plain canvas with one to four objects that do not overlap. Everything follows
//! from a seed: the same seed gives the same dataset. What is *drawn* is the same in both
//! vocabularies; what is *named* is not, see [`super::vocabulary`]. The federation's test set and
//! prompts come from random streams of their own, so no picture of it is ever trained on.

mod captions;
mod cells;
mod place;
mod questions;
mod render;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::prompt::{Found, Prompt, Tag};
use crate::vocabulary::{Colour, Shape, Vocabulary, has_new_word};
use crate::{AnswerType, CaptionExample, Dataset, VqaExample, picture};
pub use cells::{CELLS, Cell};
pub use render::coverage;

/// One object of a scene.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Object {
    /// Its shape.
    pub shape: Shape,
    /// The colour it counts as.
    pub colour: Colour,
    /// What it is painted with: the palette's value, give or take [`JITTER`].
    pub rgb: [u8; 3],
    /// The middle of its box in pixels: x from the left, y from the top.
    pub centre: [f32; 2],
    /// Its box in pixels: width, height.
    pub size: [f32; 2],
}

/// A canvas and what lies on it.
#[derive(Clone, Debug, PartialEq)]
pub struct Scene {
    /// A light tint, each channel 230 to 255.
    pub background: [u8; 3],
    /// One to four objects, none touching another.
    pub objects: Vec<Object>,
}

impl Scene {
    /// A scene of one to four objects of any kind.
    pub fn random(rng: &mut ChaCha8Rng) -> Self {
        let count = rng.random_range(1..=OBJECTS_MAX);
        place::free(rng, &Concepts::everything(), count)
    }

    /// The objects as a faultless detector would report them.
    pub fn found(&self) -> Vec<Found> {
        self.objects.iter().map(Object::found).collect()
    }
}

impl Object {
    /// The object as a faultless detector would report it.
    pub fn found(&self) -> Found {
        let Self { shape, colour, centre, size, .. } = *self;
        Found { shape, colour, centre, size, confidence: 1.0 }
    }
}

/// A prompt to draw from, for evaluation; the text is `prompt.prompt`.
#[derive(Clone, Debug, PartialEq)]
pub struct PromptCase {
    /// What to draw and the rule it is judged by.
    pub prompt: Prompt,
    /// Whether the text holds a word held out of pre-training.
    pub is_new: bool,
}

/// Training data of `scenes` scenes: for each one caption and two to four questions.
///
/// The caption is drawn first and the scene made to satisfy it. Every third scene's questions are
/// about a further picture of three or four objects of any kind, which no caption describes.
pub fn dataset(vocabulary: Vocabulary, seed: u64, scenes: usize) -> Dataset {
    generate(vocabulary, Source { seed, part: Part::Train }, scenes)
}

/// Evaluation prompts, `per_tag` of each of the six tags in turn, from their own random stream.
///
/// The words combine in few enough ways that short prompts recur in training captions ("a circle");
/// what is held out is the draw, not the combination.
pub fn prompts(vocabulary: Vocabulary, seed: u64, per_tag: usize) -> Vec<PromptCase> {
    let source = Source { seed, part: Part::Prompts };
    let mut cases = Vec::with_capacity(per_tag * Tag::ALL.len());
    for (kind, tag) in Tag::ALL.into_iter().enumerate() {
        for index in 0..per_tag {
            let mut rng = source.rng(kind * PROMPT_STRIDE + index);
            let prompt = captions::suite(&mut rng, vocabulary, tag).prompt;
            cases.push(PromptCase { is_new: has_new_word(&prompt.prompt), prompt });
        }
    }
    cases
}

/// What no member ever trains on, in the domain's vocabulary: 240 test scenes (above 600
/// questions) and 6 × 40 prompts, from random streams that no [`dataset`] of the seed uses.
pub fn held_out(seed: u64) -> (Dataset, Vec<PromptCase>) {
    let test = generate(Vocabulary::Domain, Source { seed, part: Part::Test }, TEST_SCENES);
    (test, prompts(Vocabulary::Domain, seed, TEST_PROMPTS_PER_TAG))
}

/// What may be drawn, and which of it may be named.
#[derive(Clone, Debug)]
struct Concepts {
    drawn_shapes: Vec<Shape>,
    drawn_colours: Vec<Colour>,
    shapes: Vec<Shape>,
    colours: Vec<Colour>,
}

impl Concepts {
    fn everything() -> Self {
        let (shapes, colours) = (Shape::ALL.to_vec(), Colour::ALL.to_vec());
        Self { drawn_shapes: shapes.clone(), drawn_colours: colours.clone(), shapes, colours }
    }

    /// The concepts of one scene. In the domain a share of the scenes keeps to the base's words, or
    /// too few examples would tell whether they are forgotten.
    fn draw(rng: &mut ChaCha8Rng, vocabulary: Vocabulary) -> Self {
        let mut concepts = Self::everything();
        concepts.shapes.retain(|shape| vocabulary.shape(*shape).is_some());
        concepts.colours.retain(|colour| vocabulary.colour(*colour).is_some());
        if vocabulary == Vocabulary::Domain && rng.random_bool(OLD_SHARE) {
            let is_old = |word: Option<&str>| word.is_some_and(|word| !has_new_word(word));
            concepts.shapes.retain(|shape| is_old(vocabulary.shape(*shape)));
            concepts.colours.retain(|colour| is_old(vocabulary.colour(*colour)));
            concepts.drawn_shapes = concepts.shapes.clone();
            concepts.drawn_colours = concepts.colours.clone();
        }
        concepts
    }
}

/// Which of a seed's random streams; streams of different parts never meet.
#[derive(Clone, Copy)]
enum Part {
    Train,
    Test,
    Prompts,
}

#[derive(Clone, Copy)]
struct Source {
    seed: u64,
    part: Part,
}

impl Source {
    fn rng(self, index: usize) -> ChaCha8Rng {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(((self.part as u64) << PART_SHIFT) | index as u64);
        rng
    }
}

fn generate(vocabulary: Vocabulary, source: Source, scenes: usize) -> Dataset {
    let mut dataset = Dataset::default();
    for index in 0..scenes {
        let mut rng = source.rng(index);
        let concepts = Concepts::draw(&mut rng, vocabulary);
        let captioned = captions::training(&mut rng, vocabulary, &concepts);
        dataset.captions.push(CaptionExample {
            picture: dataset.pictures.len(),
            is_new: has_new_word(&captioned.prompt.prompt),
            caption: captioned.prompt.prompt.clone(),
            prompt: Some(captioned.prompt),
        });
        dataset.pictures.push(captioned.scene.picture());
        let mut asked_about = captioned.scene;
        if index % FREE_EVERY == FREE_EVERY - 1 {
            let count = rng.random_range(3..=OBJECTS_MAX);
            asked_about = place::free(&mut rng, &concepts, count);
            dataset.pictures.push(asked_about.picture());
        }
        let picture = dataset.pictures.len() - 1;
        let asked = questions::ask(&mut rng, vocabulary, &concepts, &asked_about);
        for (number, question) in asked.into_iter().enumerate() {
            dataset.questions.push(VqaExample {
                question_id: (picture * 1000 + number) as u64,
                picture,
                is_new: has_new_word(&question.text) || has_new_word(&question.answer),
                question: question.text,
                answers: vec![question.answer.clone(); ANSWERS],
                answer: question.answer,
                answer_type: question.answer_type,
                question_type: question.question_type.to_owned(),
            });
        }
    }
    dataset
}

/// What a question generator yields.
struct Question {
    text: String,
    answer: String,
    answer_type: AnswerType,
    question_type: &'static str,
}

/// Objects of one scene at most.
pub const OBJECTS_MAX: usize = 4;
/// How far a painted channel may be from the palette's.
pub const JITTER: i16 = 10;
/// VQA v2's number of annotators.
pub const ANSWERS: usize = 10;
const OLD_SHARE: f64 = 0.3;
const FREE_EVERY: usize = 3;
const TEST_SCENES: usize = 240;
const TEST_PROMPTS_PER_TAG: usize = 40;
const PART_SHIFT: u32 = 48;
const PROMPT_STRIDE: usize = 1 << 32;
const SIDE: f32 = picture::SIDE as f32;

#[cfg(test)]
mod tests;
