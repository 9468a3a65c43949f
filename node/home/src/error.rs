//! Errors at the edge: what went wrong, in one line, and the way out, in another.

use std::fmt;
use std::process::ExitCode;

use witan_files::BlobError;

use crate::store;

/// The kinds of failure a caller can tell apart by exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// A flag or argument makes no sense (2).
    Usage,
    /// A file, data set, base or federation is missing, damaged or contradicts another (3).
    Input,
    /// A port, home or file is in use by somebody else (4).
    Busy,
    /// The disk, the network or the device refused (5).
    Environment,
    /// Stored history does not check out (6).
    Tampered,
    /// The run ended, but not with everyone or not to its end (7).
    Incomplete,
    /// Every round is committed, but the run lost members on the way; `--allow-absent` accepts it (8).
    Missing,
    /// Interrupted by the user; everything was stopped and can be resumed (130).
    Interrupted,
}

/// A failure as a person or a script meets it.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Decides the exit code.
    pub kind: FailureKind,
    /// One line: names the thing.
    pub message: String,
    /// One line: what to do about it.
    pub hint: Option<String>,
}

impl Failure {
    /// A failure without a hint.
    pub fn new(kind: FailureKind, message: impl fmt::Display) -> Self {
        Self { kind, message: message.to_string(), hint: None }
    }

    /// The same failure with the way out.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// A bad or missing input.
    pub fn input(message: impl fmt::Display) -> Self {
        Self::new(FailureKind::Input, message)
    }

    /// A flag or argument that makes no sense.
    pub fn usage(message: impl fmt::Display) -> Self {
        Self::new(FailureKind::Usage, message)
    }

    /// The disk, the network or the device refused.
    pub fn environment(message: impl fmt::Display) -> Self {
        Self::new(FailureKind::Environment, message)
    }

    /// The exit code of [`FailureKind`].
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self.kind {
            FailureKind::Usage => 2,
            FailureKind::Input => 3,
            FailureKind::Busy => 4,
            FailureKind::Environment => 5,
            FailureKind::Tampered => 6,
            FailureKind::Incomplete => 7,
            FailureKind::Missing => 8,
            FailureKind::Interrupted => 130,
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Failure {}

impl From<BlobError> for Failure {
    fn from(error: BlobError) -> Self {
        let message = error.to_string();
        let (kind, hint) = match &error {
            BlobError::Io { path, source, .. } => {
                (FailureKind::Environment, store::error::io_hint(path, source))
            }
            BlobError::Missing(_) => {
                (FailureKind::Input, Some("start the node: it fetches what it lacks".to_owned()))
            }
            BlobError::Size { path, .. } | BlobError::Corrupt { path, .. } => {
                let path = path.display();
                let hint = format!("remove {path}: the node fetches it again if it needs it");
                (FailureKind::Tampered, Some(hint))
            }
        };
        Self { kind, message, hint }
    }
}
