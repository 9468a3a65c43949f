//! A prompt in GenEval's own JSON lines schema.
//!
//! `{"tag": …, "include": [{"class", "count", "color"?, "position"?: [relation, index]}],
//! "exclude"?: …, "prompt": …}`. Classes are shapes, or "shape" for any; colours are the palette's.

mod rule;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::vocabulary::{Colour, Relation, Shape};
pub use rule::Found;

/// GenEval's six kinds of prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tag {
    /// "a circle"
    SingleObject,
    /// "a circle and a star"
    TwoObject,
    /// "three circles"
    Counting,
    /// "a red circle"
    Colors,
    /// "a circle left of a star"
    Position,
    /// "a red circle and a blue star"
    ColorAttr,
}

impl Tag {
    /// Every tag, in GenEval's order.
    pub const ALL: [Self; 6] = [
        Self::SingleObject,
        Self::TwoObject,
        Self::Counting,
        Self::Colors,
        Self::Position,
        Self::ColorAttr,
    ];

    /// Its name in the JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::SingleObject => "single_object",
            Self::TwoObject => "two_object",
            Self::Counting => "counting",
            Self::Colors => "colors",
            Self::Position => "position",
            Self::ColorAttr => "color_attr",
        }
    }
}

/// What a drawing must and must not hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written")]
pub struct Prompt {
    /// Which of the six kinds it is.
    pub tag: Tag,
    /// All of these must hold.
    pub include: Vec<Include>,
    /// None of these may hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<Exclude>,
    /// The text the model is given.
    pub prompt: String,
}

/// Objects that must be there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Include {
    /// Their shape; none is any shape, "shape" in the JSON.
    #[serde(serialize_with = "write_class", deserialize_with = "read_class")]
    pub class: Option<Shape>,
    /// How many at least.
    pub count: usize,
    /// Their colour, where asked.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "write_colour",
        deserialize_with = "read_colour"
    )]
    pub color: Option<Colour>,
    /// Where they lie, where asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<Position>,
}

/// Where objects lie, seen from those of another entry; `["left of", 0]` in the JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "(Relation, usize)", from = "(Relation, usize)")]
pub struct Position {
    /// The direction.
    pub relation: Relation,
    /// Index of the include entry it is relative to.
    pub of: usize,
}

/// Objects of which there must be fewer than `count`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exclude {
    /// Their shape; none is any shape.
    #[serde(serialize_with = "write_class", deserialize_with = "read_class")]
    pub class: Option<Shape>,
    /// The number that is already wrong.
    pub count: usize,
}

/// A prompt whose parts may contradict each other.
#[derive(Deserialize)]
struct Written {
    tag: Tag,
    include: Vec<Include>,
    #[serde(default)]
    exclude: Vec<Exclude>,
    prompt: String,
}

/// Why a prompt cannot be judged.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PromptError {
    /// Every drawing would be right.
    #[error("the prompt includes nothing")]
    Nothing,
    /// No object is asked for, or none is too many.
    #[error("count is 0")]
    NoCount,
    /// GenEval judges entries in order, hence a position refers to an earlier one.
    #[error("position of include entry {entry} refers to entry {of}, expected an earlier one")]
    Reference {
        /// Whose position, from 0.
        entry: usize,
        /// The entry it names.
        of: usize,
    },
}

impl TryFrom<Written> for Prompt {
    type Error = PromptError;

    fn try_from(written: Written) -> Result<Self, PromptError> {
        let Written { tag, include, exclude, prompt } = written;
        if include.is_empty() {
            return Err(PromptError::Nothing);
        }
        let mut counts = include.iter().map(|it| it.count).chain(exclude.iter().map(|it| it.count));
        if counts.any(|count| count == 0) {
            return Err(PromptError::NoCount);
        }
        for (entry, wanted) in include.iter().enumerate() {
            match wanted.position {
                Some(Position { of, .. }) if of >= entry => {
                    return Err(PromptError::Reference { entry, of });
                }
                _ => {}
            }
        }
        Ok(Self { tag, include, exclude, prompt })
    }
}

impl From<Position> for (Relation, usize) {
    fn from(Position { relation, of }: Position) -> Self {
        (relation, of)
    }
}

impl From<(Relation, usize)> for Position {
    fn from((relation, of): (Relation, usize)) -> Self {
        Self { relation, of }
    }
}

fn write_class<S: Serializer>(class: &Option<Shape>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(class.map_or("shape", Shape::name))
}

fn read_class<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Shape>, D::Error> {
    let name = String::deserialize(deserializer)?;
    if name == "shape" {
        return Ok(None);
    }
    let shape = Shape::from_word(&name);
    shape.map(Some).ok_or_else(|| D::Error::custom(format_args!("unknown class {name:?}")))
}

fn write_colour<S: Serializer>(colour: &Option<Colour>, serializer: S) -> Result<S::Ok, S::Error> {
    colour.map(Colour::name).serialize(serializer)
}

fn read_colour<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Colour>, D::Error> {
    let Some(name) = Option::<String>::deserialize(deserializer)? else {
        return Ok(None);
    };
    let colour = Colour::from_word(&name);
    colour.map(Some).ok_or_else(|| D::Error::custom(format_args!("unknown color {name:?}")))
}
