//! Errors at the edge: what went wrong, in one line, and the way out, in another.

use std::path::Path;
use std::process::ExitCode;
use std::{fmt, io};

use witan_data::fault::{Fault, FaultKind};
use witan_files::BlobError;

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
    /// Every round is committed, but the run lost members on the way; `--allow-absent` accepts it
    /// (8).
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

impl From<Fault> for Failure {
    fn from(Fault { kind, message, hint }: Fault) -> Self {
        let kind = match kind {
            FaultKind::Usage => FailureKind::Usage,
            FaultKind::Input => FailureKind::Input,
            FaultKind::Environment => FailureKind::Environment,
            FaultKind::Stopped => FailureKind::Interrupted,
        };
        Self { kind, message, hint }
    }
}

impl From<BlobError> for Failure {
    fn from(error: BlobError) -> Self {
        let message = error.to_string();
        let (kind, hint) = match &error {
            BlobError::Io { path, source, .. } => (FailureKind::Environment, io_hint(path, source)),
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

/// Whether the disk or the quota is full.
pub(crate) fn full(source: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(source.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

/// What a person can do about what the system said of `path`, if that is known.
pub(crate) fn io_hint(path: &Path, source: &io::Error) -> Option<String> {
    match source.kind() {
        _ if full(source) => Some(format!(
            "free space on the disk of {} and start the node again; nothing committed is lost",
            path.display()
        )),
        io::ErrorKind::PermissionDenied => {
            Some(format!("run it as the owner of {}", path.display()))
        }
        io::ErrorKind::NotFound => Some(format!("check that {} is there", path.display())),
        io::ErrorKind::ReadOnlyFilesystem => Some("choose a home on a writable disk".into()),
        _ => None,
    }
}
