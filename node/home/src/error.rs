//! What can go wrong with a home folder, with the evidence and what a person can do about it.

use std::io;
use std::path::{Path, PathBuf};

use witan_protocol::federation::FederationError;
use witan_protocol::member::Round;

use crate::failure::{Failure, FailureKind, full, io_hint};
use crate::shell;

/// A fault of the home folder, its files or its disk. Every variant names the path.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The operating system refused; `source` says why.
    #[error("{doing} {}", path.display())]
    Io {
        /// What was tried, such as "cannot write to".
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A journal holds bytes that were never written by us.
    #[error("{} is damaged at byte {offset}{}: {damage}", path.display(), in_round(round))]
    Damaged {
        /// The journal file.
        path: PathBuf,
        /// Where the bad entry begins.
        offset: u64,
        /// The round it belongs to, where that is known.
        round: Option<Round>,
        /// What does not fit.
        damage: Damage,
    },
    /// A record was given out of order; a fault of the caller.
    #[error("the ledger in {} continues with round {expected}, not {found}", path.display())]
    OutOfOrder {
        /// The journal file.
        path: PathBuf,
        /// The round that must come next.
        expected: Round,
        /// The round that was given.
        found: Round,
    },
    /// An earlier write of this file could not be made durable, so nothing after it may be.
    #[error("{} could not be made durable earlier and is not written any more", path.display())]
    Poisoned {
        /// The journal file.
        path: PathBuf,
    },
    /// Another process works in this home.
    #[error("the home {} is {}", home.display(), running_as(pid))]
    Busy {
        /// The home folder.
        home: PathBuf,
        /// The process that holds the lock, if it wrote its number.
        pid: Option<u32>,
    },
    /// The folder holds no federation file.
    #[error("{} is not a node's home: it holds no federation.toml", path.display())]
    NotAHome {
        /// The folder.
        path: PathBuf,
    },
    /// There is no key file.
    #[error("there is no key {}", path.display())]
    KeyMissing {
        /// Where it should be.
        path: PathBuf,
    },
    /// The key file can be read by others.
    #[error("the key {} can be read by others (mode {mode:04o})", path.display())]
    KeyExposed {
        /// The key file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The key file holds no ed25519 key.
    #[error("the key {} is not an ed25519 key in PKCS#8 PEM form", path.display())]
    KeyInvalid {
        /// The key file.
        path: PathBuf,
    },
    /// The federation file cannot be used.
    #[error("{}: {source}", path.display())]
    Federation {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: FederationError,
    },
    /// The index says of a round what its record does not.
    #[error("the index {} has another record of round {round} than the ledger", path.display())]
    IndexRow {
        /// The sled folder.
        path: PathBuf,
        /// The round.
        round: Round,
    },
    /// The gossip log is not whole.
    #[error("the gossip log in {} lacks entry {seq}", path.display())]
    LogGap {
        /// The sled folder.
        path: PathBuf,
        /// The first entry that is not there.
        seq: u64,
    },
    /// The gossip log ends too early.
    #[error("the gossip log in {} had {expected} entries and has {found}", path.display())]
    LogCut {
        /// The sled folder.
        path: PathBuf,
        /// Entries there were when it was last made durable.
        expected: u64,
        /// Entries there are.
        found: u64,
    },
    /// The index cannot be opened, or failed while the node ran.
    #[error("the index {} failed: {source}", path.display())]
    Index {
        /// The sled folder.
        path: PathBuf,
        /// What it says.
        source: IndexError,
    },
}

/// What does not fit in a damaged journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// The first line is not ours.
    #[error("it does not begin as such a file does")]
    Magic,
    /// The length of an entry does not match its check.
    #[error("the length of an entry does not match its check")]
    Length,
    /// The bytes of an entry do not match their check.
    #[error("the bytes of an entry do not match their check")]
    Bytes,
    /// The check holds, but the bytes are no entry of this file.
    #[error("an entry cannot be read")]
    Entry,
    /// A round is missing or twice there.
    #[error("the rounds do not follow one another")]
    Order,
}

/// What the index's database said; of the system's answer it keeps the kind alone.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The system refused.
    #[error("{}", .0.kind())]
    Io(io::Error),
    /// Its bytes are not those that were written.
    #[error("its bytes do not match their check")]
    Corrupt,
    /// Something else, in its own words.
    #[error("{0}")]
    Other(String),
}

impl StoreError {
    /// An [`StoreError::Io`].
    pub fn io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { doing, path: path.to_owned(), source }
    }

    /// What a person can do about it, in one line.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Io { path, source, .. } => io_hint(path, source),
            Self::Damaged { path, .. } => Some(format!(
                "restore {} from a copy; or move the home's journal and db folders aside: the node \
                 fetches the ledger again from the other members",
                path.display()
            )),
            Self::Poisoned { .. } => Some("check the disk, then start the node again".into()),
            Self::Busy { home, .. } => {
                Some(format!("ask it with: {}", shell::command("status", home)))
            }
            Self::NotAHome { .. } => {
                Some("give as --home a node's folder, such as witan-testnet/nodes/00".into())
            }
            Self::KeyMissing { path } => {
                let keys = shell::command("keys", path.parent().unwrap_or(path));
                Some(format!("put the member's key back, or make one: {keys}"))
            }
            Self::KeyExposed { path, .. } => Some(format!("chmod 600 {}", shell::word(path))),
            Self::KeyInvalid { path } => {
                Some(format!("check it with: openssl pkey -noout -text -in {}", shell::word(path)))
            }
            Self::Index { path, source: IndexError::Io(source) } if full(source) => {
                io_hint(path, source)
            }
            Self::LogGap { .. } | Self::LogCut { .. } => Some(
                "it was altered, or its disk was full once; nothing is decided by the gossip log"
                    .into(),
            ),
            Self::Index { path, .. } | Self::IndexRow { path, .. } => Some(format!(
                "stop the node and remove {}: the journal rebuilds it, except the gossip log",
                path.display()
            )),
            Self::Federation { .. } => {
                Some("every member must have the same federation.toml; ask another for it".into())
            }
            Self::OutOfOrder { .. } => None,
        }
    }

    /// What a caller can tell it by.
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::Index { source: IndexError::Io(_), .. } => FailureKind::Environment,
            Self::Index { .. } => FailureKind::Tampered,
            Self::Io { .. } | Self::Poisoned { .. } => FailureKind::Environment,
            Self::Damaged { .. }
            | Self::IndexRow { .. }
            | Self::LogGap { .. }
            | Self::LogCut { .. } => FailureKind::Tampered,
            Self::Busy { .. } => FailureKind::Busy,
            Self::NotAHome { .. }
            | Self::KeyMissing { .. }
            | Self::KeyExposed { .. }
            | Self::KeyInvalid { .. }
            | Self::Federation { .. }
            | Self::OutOfOrder { .. } => FailureKind::Input,
        }
    }

    /// Whether the disk or the quota is full.
    pub fn is_full_disk(&self) -> bool {
        let source = match self {
            Self::Io { source, .. } => source,
            Self::Index { source: IndexError::Io(source), .. } => source,
            _ => return false,
        };
        full(source)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let mut message = error.to_string();
        if let Some(source) = std::error::Error::source(&error)
            && !matches!(error, StoreError::Index { .. })
            && !message.contains(&source.to_string())
        {
            message = format!("{message}: {source}");
        }
        Self { kind: error.kind(), message, hint: error.hint() }
    }
}

fn in_round(round: &Option<Round>) -> String {
    round.map(|round| format!(", in round {round}")).unwrap_or_default()
}

fn running_as(pid: &Option<u32>) -> String {
    match pid {
        Some(pid) => format!("already running as process {pid}"),
        None => "already running".into(),
    }
}
