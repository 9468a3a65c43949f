//! One thing wrong with what somebody wrote: the field, what it should be and what it is.

use std::fmt::Display;

/// What is wrong with a document, a message or a record; an objection says the same.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {found}, expected {expected}")]
pub struct Flaw {
    /// The field, such as `included[3]`.
    pub field: String,
    /// What it should be.
    pub expected: String,
    /// What it is.
    pub found: String,
}

impl Flaw {
    /// This field is not as it should be.
    pub fn new(field: &str, expected: impl Display, found: impl Display) -> Self {
        Self { field: field.to_owned(), expected: expected.to_string(), found: found.to_string() }
    }

    /// The same flaw, in a part of `field`.
    pub(crate) fn within(self, field: &str) -> Self {
        Self { field: format!("{field}.{}", self.field), ..self }
    }
}

/// A flaw unless `holds`.
pub(crate) fn require(
    holds: bool,
    field: &str,
    expected: impl Display,
    found: impl Display,
) -> Result<(), Flaw> {
    if holds { Ok(()) } else { Err(Flaw::new(field, expected, found)) }
}

/// A flaw unless both are equal.
pub(crate) fn same<T: PartialEq + Display>(field: &str, expected: T, found: T) -> Result<(), Flaw> {
    require(expected == found, field, &expected, &found)
}
