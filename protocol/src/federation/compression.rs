//! How a delta is written as bytes: agreed in the federation file, named in every signed update,
//! done by the model. `docs/STRATEGIES.md` has sizes and scores.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::choice::{Choice, ChoiceError};

/// A codec with its numbers; as text `none`, `bf16`, `int8` or `top-k:keep=0.1`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Compression {
    /// 32-bit floats.
    #[default]
    None,
    /// The upper half of each 32-bit float, rounded.
    Bf16,
    /// One byte a number and a scale a block; what is lost is sent with the next round.
    Int8,
    /// The largest numbers only; the rest is sent with a later round.
    TopK {
        /// The share of numbers that is sent.
        keep: f64,
    },
}

impl Compression {
    /// Every name.
    pub const NAMES: [&str; 4] = ["none", "bf16", "int8", "top-k"];

    /// Whether it is the default, which a federation file need not name.
    pub fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }
}

impl FromStr for Compression {
    type Err = ChoiceError;

    fn from_str(text: &str) -> Result<Self, ChoiceError> {
        let mut choice = Choice::read(text)?;
        let compression = match choice.name.clone().as_str() {
            "none" => Self::None,
            "bf16" => Self::Bf16,
            "int8" => Self::Int8,
            "top-k" => Self::TopK {
                keep: choice.number("keep", 0.1, "more than 0, at most 0.5", |keep| {
                    keep > 0.0 && keep <= 0.5
                })?,
            },
            _ => return Err(choice.unknown(&Self::NAMES)),
        };
        choice.end()?;
        Ok(compression)
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Bf16 => f.write_str("bf16"),
            Self::Int8 => f.write_str("int8"),
            Self::TopK { keep } => write!(f, "top-k:keep={keep}"),
        }
    }
}

impl From<Compression> for String {
    fn from(compression: Compression) -> Self {
        compression.to_string()
    }
}

impl TryFrom<String> for Compression {
    type Error = ChoiceError;

    fn try_from(text: String) -> Result<Self, ChoiceError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_parses_and_back_and_others_are_refused() {
        for name in Compression::NAMES {
            let compression: Compression = name.parse().unwrap();
            assert!(compression.to_string().starts_with(name));
            assert_eq!(compression.to_string().parse(), Ok(compression));
        }
        let problem = |text: &str| text.parse::<Compression>().unwrap_err().to_string();
        assert_eq!(problem("zip"), "`zip` is unknown; known are none, bf16, int8, top-k");
        assert_eq!(
            problem("top-k:keep=0.9"),
            "top-k: keep is 0.9, expected more than 0, at most 0.5"
        );
        assert_eq!(problem("int8:keep=0.1"), "int8 has no number `keep`");
    }
}
