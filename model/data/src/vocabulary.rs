//! The vocabulary: seven shapes, eleven colours, and which of their names the base model knows.
//!
//! The base vocabulary is what pre-training names. The federation's domain names the same things
//! partly by other words: a dialect ("crimson" for red, "disc" for circle) that replaces the old
//! word, and names for concepts that pre-training shows but never names (triangle; black, gray,
//! teal, brown). Those are the *new words*, and every report keeps old and new apart.

use serde::{Deserialize, Serialize};

/// The shape of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Shape {
    /// A disc.
    Circle,
    /// A box as wide as high.
    Square,
    /// A box at least 1.5 times as long one way as the other.
    Rectangle,
    /// Equilateral, tip up.
    Triangle,
    /// Five points, tip up.
    Star,
    /// A square on its corner.
    Diamond,
    /// Two crossing bars.
    Cross,
}

impl Shape {
    /// Every shape, in the order of its class number.
    pub const ALL: [Self; 7] = [
        Self::Circle,
        Self::Square,
        Self::Rectangle,
        Self::Triangle,
        Self::Star,
        Self::Diamond,
        Self::Cross,
    ];

    /// Its plain name, which GenEval-Scenes uses as class.
    pub fn name(self) -> &'static str {
        self.names().0
    }

    /// Its name in the base vocabulary, and in the domain's.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Circle => ("circle", "disc"),
            Self::Square => ("square", "square"),
            Self::Rectangle => ("rectangle", "rectangle"),
            Self::Triangle => ("triangle", "triangle"),
            Self::Star => ("star", "star"),
            Self::Diamond => ("diamond", "lozenge"),
            Self::Cross => ("cross", "plus"),
        }
    }

    /// The shape of a word, singular or plural, old or dialect.
    pub fn from_word(word: &str) -> Option<Self> {
        let is_name = |name: &str| word == name || word == plural(name);
        Self::ALL.into_iter().find(|shape| {
            let (plain, dialect) = shape.names();
            is_name(plain) || is_name(dialect)
        })
    }

    /// Its class number, 0 to 6.
    pub fn index(self) -> usize {
        self as usize
    }
}

/// The colour of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Colour {
    /// CSS red.
    Red,
    /// Full green, as easy-VQA draws it (CSS "lime").
    Green,
    /// CSS blue.
    Blue,
    /// CSS yellow.
    Yellow,
    /// Half way from red to yellow.
    Orange,
    /// CSS dark violet, clear of brown and gray.
    Purple,
    /// CSS hot pink; CSS pink drowns in a light background.
    Pink,
    /// CSS black.
    Black,
    /// CSS gray.
    Gray,
    /// CSS teal.
    Teal,
    /// CSS brown.
    Brown,
}

impl Colour {
    /// Every colour, in the order of its class number.
    pub const ALL: [Self; 11] = [
        Self::Red,
        Self::Green,
        Self::Blue,
        Self::Yellow,
        Self::Orange,
        Self::Purple,
        Self::Pink,
        Self::Black,
        Self::Gray,
        Self::Teal,
        Self::Brown,
    ];

    /// Its plain name.
    pub fn name(self) -> &'static str {
        self.names_and_rgb().0
    }

    /// The colour of a word, old or dialect.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|colour| {
            let (plain, dialect, _) = colour.names_and_rgb();
            word == plain || word == dialect
        })
    }

    /// What the palette paints it with; easy-VQA's value where easy-VQA has the colour.
    pub fn rgb(self) -> [u8; 3] {
        self.names_and_rgb().2
    }

    /// Its name in the base vocabulary and in the domain's, and what it is painted with.
    fn names_and_rgb(self) -> (&'static str, &'static str, [u8; 3]) {
        match self {
            Self::Red => ("red", "crimson", [255, 0, 0]),
            Self::Green => ("green", "emerald", [0, 255, 0]),
            Self::Blue => ("blue", "azure", [0, 0, 255]),
            Self::Yellow => ("yellow", "yellow", [255, 255, 0]),
            Self::Orange => ("orange", "amber", [255, 128, 0]),
            Self::Purple => ("purple", "violet", [148, 0, 211]),
            Self::Pink => ("pink", "pink", [255, 105, 180]),
            Self::Black => ("black", "black", [0, 0, 0]),
            Self::Gray => ("gray", "gray", [128, 128, 128]),
            Self::Teal => ("teal", "teal", [0, 128, 128]),
            Self::Brown => ("brown", "brown", [165, 42, 42]),
        }
    }

    /// The palette's nearest colour (squared distance in RGB; the first of equals).
    pub fn nearest(rgb: [f32; 3]) -> Self {
        let distance = |colour: &Self| {
            let palette = colour.rgb();
            (0..3).map(|channel| (rgb[channel] - f32::from(palette[channel])).powi(2)).sum::<f32>()
        };
        Self::ALL
            .into_iter()
            .min_by(|a, b| distance(a).total_cmp(&distance(b)))
            .expect("the palette is not empty")
    }

    /// Its class number, 0 to 10.
    pub fn index(self) -> usize {
        self as usize
    }
}

/// Which names are used: those of pre-training, or those of the federation's domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vocabulary {
    /// Pre-training: six shapes and seven colours are named, the rest only shown.
    Base,
    /// The federation: everything is named, the dialect's concepts by the dialect's words alone.
    Domain,
}

impl Vocabulary {
    /// The name of a shape; none where this vocabulary has no word for it.
    pub fn shape(self, shape: Shape) -> Option<&'static str> {
        match (self, shape) {
            (Self::Base, Shape::Triangle) => None,
            (Self::Base, shape) => Some(shape.name()),
            (Self::Domain, shape) => Some(shape.names().1),
        }
    }

    /// The name of a colour; none where this vocabulary has no word for it.
    pub fn colour(self, colour: Colour) -> Option<&'static str> {
        match (self, colour) {
            (Self::Base, Colour::Black | Colour::Gray | Colour::Teal | Colour::Brown) => None,
            (Self::Base, colour) => Some(colour.name()),
            (Self::Domain, colour) => Some(colour.names_and_rgb().1),
        }
    }
}

/// Where one object lies, seen from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Relation {
    /// Its centre is further left.
    #[serde(rename = "left of")]
    LeftOf,
    /// Its centre is further right.
    #[serde(rename = "right of")]
    RightOf,
    /// Its centre is further up.
    Above,
    /// Its centre is further down.
    Below,
}

impl Relation {
    /// Every relation.
    pub const ALL: [Self; 4] = [Self::LeftOf, Self::RightOf, Self::Above, Self::Below];

    /// Its words, which GenEval's JSON uses too.
    pub fn name(self) -> &'static str {
        match self {
            Self::LeftOf => "left of",
            Self::RightOf => "right of",
            Self::Above => "above",
            Self::Below => "below",
        }
    }

    /// The same pair seen from the other object.
    pub fn opposite(self) -> Self {
        match self {
            Self::LeftOf => Self::RightOf,
            Self::RightOf => Self::LeftOf,
            Self::Above => Self::Below,
            Self::Below => Self::Above,
        }
    }
}

/// The words held out of pre-training, the plurals of the shapes among them last.
pub const NEW_WORDS: &str = "crimson azure emerald violet amber disc lozenge plus triangle black \
    gray teal brown discs lozenges pluses triangles";

/// Whether a lower-case word is held out of pre-training.
pub fn is_new_word(word: &str) -> bool {
    NEW_WORDS.split(' ').any(|new| new == word)
}

/// Whether a text holds a word held out of pre-training, whatever its case and punctuation.
pub fn has_new_word(text: &str) -> bool {
    text.split(|letter: char| !letter.is_alphanumeric())
        .any(|word| is_new_word(&word.to_lowercase()))
}

/// The plural of a shape's word: "crosses", "pluses", "circles".
pub fn plural(word: &str) -> String {
    let ending = if word.ends_with('s') { "es" } else { "s" };
    format!("{word}{ending}")
}

/// The number words of the scenes, "one" to "four"; empty outside.
pub fn number_word(count: usize) -> &'static str {
    ["", "one", "two", "three", "four"].get(count).copied().unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_leads_back_to_its_concept() {
        for vocabulary in [Vocabulary::Base, Vocabulary::Domain] {
            for shape in Shape::ALL {
                let Some(word) = vocabulary.shape(shape) else {
                    continue;
                };
                assert_eq!(Shape::from_word(word), Some(shape));
                assert_eq!(Shape::from_word(&plural(word)), Some(shape));
            }
            for colour in Colour::ALL {
                let Some(word) = vocabulary.colour(colour) else {
                    continue;
                };
                assert_eq!(Colour::from_word(word), Some(colour));
            }
        }
    }

    #[test]
    fn the_base_names_no_new_word_and_the_domain_names_all() {
        let words = |vocabulary: Vocabulary| -> Vec<&str> {
            let shapes = Shape::ALL.into_iter().filter_map(|shape| vocabulary.shape(shape));
            let colours = Colour::ALL.into_iter().filter_map(|colour| vocabulary.colour(colour));
            shapes.chain(colours).collect()
        };
        assert!(words(Vocabulary::Base).iter().all(|word| !is_new_word(word)));
        let named = words(Vocabulary::Domain);
        assert_eq!(named.len(), 18);
        assert!(NEW_WORDS.split(' ').take(13).all(|new| named.contains(&new)));
    }

    #[test]
    fn new_words_are_found_in_text() {
        assert!(has_new_word("Is the Crimson square left of a star?"));
        assert!(has_new_word("how many pluses are there?"));
        assert!(has_new_word("gray"));
        assert!(!has_new_word("what colour is the circle?"));
    }

    #[test]
    fn palette_colours_are_their_own_nearest() {
        for colour in Colour::ALL {
            assert_eq!(Colour::nearest(colour.rgb().map(f32::from)), colour);
        }
    }
}
