//! A name with numbers, as people write a choice in the federation file: `name` or
//! `name:key=number,key=number`. Missing numbers have their defaults; unknown ones are refused.

use std::collections::BTreeMap;

/// Why a choice cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChoiceError {
    /// No choice has this name.
    #[error("`{found}` is unknown; known are {known}")]
    Name {
        /// What was written.
        found: String,
        /// Every name, with commas.
        known: String,
    },
    /// Not `key=number`, or a repeated key.
    #[error("{choice}: `{found}` is not key=number, each key once")]
    Pair {
        /// The choice.
        choice: String,
        /// What was written.
        found: String,
    },
    /// A number this choice does not have.
    #[error("{choice} has no number `{found}`")]
    Key {
        /// The choice.
        choice: String,
        /// What was written.
        found: String,
    },
    /// A number outside its range.
    #[error("{choice}: {key} is {found}, expected {expected}")]
    Number {
        /// The choice.
        choice: String,
        /// Which number.
        key: &'static str,
        /// What was written.
        found: String,
        /// What it may be.
        expected: &'static str,
    },
}

/// A choice taken apart: its name, and the numbers nobody has asked for yet.
#[derive(Clone, Debug)]
pub struct Choice {
    /// The word before the colon.
    pub name: String,
    numbers: BTreeMap<String, f64>,
}

impl Choice {
    /// Takes `text` apart; knows no names.
    pub fn read(text: &str) -> Result<Self, ChoiceError> {
        let (name, pairs) = text.split_once(':').unwrap_or((text, ""));
        let choice = shown(name);
        let mut numbers = BTreeMap::new();
        for pair in pairs.split(',').filter(|_| text.contains(':')) {
            let bad = || ChoiceError::Pair { choice: choice.clone(), found: shown(pair) };
            let (key, number) = pair.split_once('=').ok_or_else(bad)?;
            let number = number.parse().map_err(|_| bad())?;
            if numbers.insert(key.to_owned(), number).is_some() {
                return Err(bad());
            }
        }
        Ok(Self { name: choice, numbers })
    }

    /// The number `key`, or its default; it must pass `fits`.
    pub fn number(
        &mut self,
        key: &'static str,
        default: f64,
        expected: &'static str,
        fits: fn(f64) -> bool,
    ) -> Result<f64, ChoiceError> {
        let number = self.numbers.remove(key).unwrap_or(default);
        if number.is_finite() && fits(number) {
            return Ok(number);
        }
        let (choice, found) = (self.name.clone(), number.to_string());
        Err(ChoiceError::Number { choice, key, found, expected })
    }

    /// An error if there are numbers that nothing asked for.
    pub fn end(self) -> Result<(), ChoiceError> {
        match self.numbers.into_keys().next() {
            None => Ok(()),
            Some(key) => Err(ChoiceError::Key { choice: self.name, found: shown(&key) }),
        }
    }

    /// The error for a name that is not one of `known`.
    pub fn unknown(&self, known: &[&str]) -> ChoiceError {
        ChoiceError::Name { found: self.name.clone(), known: known.join(", ") }
    }
}

/// Text from a file or a flag, made safe to print on one line.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(40).collect()
}
