//! An error as the person at the command line meets it: what went wrong in one line, and the way
//! out in another.
//!
//! The model and data crates return it; `witan-home` turns it into its `Failure`, which decides the
//! exit code.

use std::fmt;

/// What a caller can tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// What was asked for makes no sense.
    Usage,
    /// A file, data set or model is missing, damaged or contradicts another.
    Input,
    /// The disk or the device refused.
    Environment,
    /// The caller stopped the work.
    Stopped,
}

/// Why a model or data cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The kind.
    pub kind: FaultKind,
    /// One line: names the thing.
    pub message: String,
    /// One line: what to do about it.
    pub hint: Option<String>,
}

impl Fault {
    /// A fault without a hint.
    pub fn new(kind: FaultKind, message: impl fmt::Display) -> Self {
        Self { kind, message: message.to_string(), hint: None }
    }

    /// A bad or missing input.
    pub fn input(message: impl fmt::Display) -> Self {
        Self::new(FaultKind::Input, message)
    }

    /// The disk or the device refused.
    pub fn environment(message: impl fmt::Display) -> Self {
        Self::new(FaultKind::Environment, message)
    }

    /// The caller stopped the work.
    pub fn stopped() -> Self {
        Self::new(FaultKind::Stopped, "interrupted")
    }

    /// The same fault with the way out.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}
