//! Captions of GenEval's six kinds, each with a scene made to satisfy it.

use std::iter::repeat_n;

use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use super::place::{self, Thing};
use super::{Concepts, Scene};
use crate::prompt::{Exclude, Include, Position, Prompt, Tag};
use crate::vocabulary::{Colour, Relation, Shape, Vocabulary, number_word, plural};

/// A scene and the prompt that it satisfies.
pub(super) struct Captioned {
    pub scene: Scene,
    pub prompt: Prompt,
}

/// A training caption. Harder tags come more often, positions name colours half of the time, and in
/// the base one caption in five calls a shape only "shape", so that unnamed shapes are drawn too.
pub(super) fn training(
    rng: &mut ChaCha8Rng,
    vocabulary: Vocabulary,
    concepts: &Concepts,
) -> Captioned {
    let ticket = rng.random_range(0..TAG_WEIGHTS.iter().sum::<u32>());
    let weighted = Tag::ALL.into_iter().zip(TAG_WEIGHTS);
    let mut tickets = weighted.flat_map(|(tag, weight)| repeat_n(tag, weight as usize));
    let tag = tickets.nth(ticket as usize).expect("the ticket is below the sum of the weights");
    let anonymous = if vocabulary == Vocabulary::Base { ANONYMOUS_SHARE } else { 0.0 };
    let with_colours = tag == Tag::Position && rng.random_bool(0.5);
    let style = Style { tag, anonymous, with_colours };
    style.draw(rng, vocabulary, concepts)
}

/// An evaluation prompt, plain as GenEval's: positions without colours, every shape named.
pub(super) fn suite(rng: &mut ChaCha8Rng, vocabulary: Vocabulary, tag: Tag) -> Captioned {
    let concepts = Concepts::draw(rng, vocabulary);
    let style = Style { tag, anonymous: 0.0, with_colours: false };
    style.draw(rng, vocabulary, &concepts)
}

struct Style {
    tag: Tag,
    anonymous: f64,
    with_colours: bool,
}

/// What a caption says of one entry.
struct Mention {
    shape: Option<Shape>,
    colour: Option<Colour>,
    count: usize,
}

impl Style {
    fn draw(&self, rng: &mut ChaCha8Rng, vocabulary: Vocabulary, concepts: &Concepts) -> Captioned {
        let tag = self.tag;
        let is_pair = matches!(tag, Tag::TwoObject | Tag::Position | Tag::ColorAttr);
        let colours_named = matches!(tag, Tag::Colors | Tag::ColorAttr) || self.with_colours;
        let count = if tag == Tag::Counting { rng.random_range(2..=4) } else { 1 };
        let shapes: Vec<Shape> = concepts.shapes.sample(rng, 2).copied().collect();
        let colours: Vec<Colour> = concepts.colours.sample(rng, 2).copied().collect();
        let anonymous = if rng.random_bool(self.anonymous) { rng.random_range(0..2) } else { 2 };
        let mentions: Vec<Mention> = (0..if is_pair { 2 } else { 1 })
            .map(|index| Mention {
                shape: (index != anonymous).then_some(shapes[index]),
                colour: colours_named.then_some(colours[index]),
                count,
            })
            .collect();
        let relation = (tag == Tag::Position)
            .then(|| *Relation::ALL.choose(rng).expect("there are four relations"));
        let things = things(rng, concepts, &mentions);
        Captioned {
            scene: place::scene(rng, &things, relation),
            prompt: prompt(vocabulary, tag, &mentions, relation),
        }
    }
}

/// The things of a scene that shows the mentions and nothing else; unsaid attributes are free.
fn things(rng: &mut ChaCha8Rng, concepts: &Concepts, mentions: &[Mention]) -> Vec<Thing> {
    let named: Vec<Shape> = mentions.iter().filter_map(|mention| mention.shape).collect();
    let mut things = Vec::new();
    for mention in mentions {
        let unnamed: Vec<Shape> =
            concepts.drawn_shapes.iter().copied().filter(|shape| !named.contains(shape)).collect();
        let shape = mention.shape.or(unnamed.choose(rng).copied()).unwrap_or(Shape::Circle);
        let are_alike = rng.random_bool(0.5);
        let mut any_colour = || *concepts.drawn_colours.choose(rng).expect("some colour is drawn");
        let common = any_colour();
        for _ in 0..mention.count {
            let free = if are_alike { common } else { any_colour() };
            things.push(Thing { shape, colour: mention.colour.unwrap_or(free) });
        }
    }
    things
}

/// The text and rule. The reference of a position comes first, as in GenEval's own file.
fn prompt(
    vocabulary: Vocabulary,
    tag: Tag,
    mentions: &[Mention],
    relation: Option<Relation>,
) -> Prompt {
    let mut include: Vec<Include> = mentions
        .iter()
        .map(|mention| Include {
            class: mention.shape,
            count: mention.count,
            color: mention.colour,
            position: None,
        })
        .collect();
    let phrase = |mention: &Mention| phrase(vocabulary, mention);
    let text = match (mentions, relation) {
        ([reference, placed], Some(relation)) => {
            include[1].position = Some(Position { relation, of: 0 });
            format!("{} {} {}", phrase(placed), relation.name(), phrase(reference))
        }
        ([first, second], None) => format!("{} and {}", phrase(first), phrase(second)),
        _ => mentions.iter().map(phrase).collect(),
    };
    let exclude = match (tag, mentions) {
        (Tag::Counting, [only]) => vec![Exclude { class: only.shape, count: only.count + 1 }],
        _ => Vec::new(),
    };
    Prompt { tag, include, exclude, prompt: text }
}

fn phrase(vocabulary: Vocabulary, mention: &Mention) -> String {
    let shape = mention.shape.and_then(|shape| vocabulary.shape(shape)).unwrap_or("shape");
    let noun = if mention.count > 1 { plural(shape) } else { shape.to_owned() };
    let noun = match mention.colour.and_then(|colour| vocabulary.colour(colour)) {
        Some(colour) => format!("{colour} {noun}"),
        None => noun,
    };
    if mention.count > 1 {
        format!("{} {noun}", number_word(mention.count))
    } else {
        with_article(&noun)
    }
}

/// "a circle", "an amber disc".
pub(super) fn with_article(noun: &str) -> String {
    let article = if noun.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} {noun}")
}

/// In the order of [`Tag::ALL`].
const TAG_WEIGHTS: [u32; 6] = [1, 2, 3, 2, 3, 3];
const ANONYMOUS_SHARE: f64 = 0.2;
