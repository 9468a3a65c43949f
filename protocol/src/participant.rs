//! The root: owns the machines and routes each input to the one it concerns. Must decide nothing.

use std::sync::Arc;

use crate::digest::BlobRef;
use crate::federation::Federation;
use crate::identity::Identity;
use crate::io::{Input, Output, Time};
use crate::ledger::BadRecord;
use crate::status::Status;

/// What a participant is made from.
#[derive(Clone, Debug)]
pub struct Config {
    /// The federation.
    pub federation: Arc<Federation>,
    /// This member's key; its public half must be in the roster.
    pub identity: Identity,
    /// The adapter training starts from, the same on every node.
    pub start_adapter: BlobRef,
}

/// One member's side of the protocol. Feed it with [`handle`](Self::handle), then drain
/// [`poll_output`](Self::poll_output) to `None`.
#[derive(Debug)]
pub struct Participant {}

/// Why a participant could not be made from what was stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// This identity is not in the roster.
    #[error("{} is not a member of the federation", .0.short())]
    NotAMember(crate::member::MemberId),
    /// The stored ledger does not hold.
    #[error("stored ledger: {0}")]
    Ledger(#[from] BadRecord),
    /// An entry of the write-ahead log cannot be read.
    #[error("write-ahead log: entry {entry} is damaged")]
    Wal {
        /// Its place, from 0.
        entry: usize,
    },
}

impl Participant {
    /// A participant with nothing stored. Its first outputs are there at once.
    pub fn new(config: Config, now: Time) -> Result<Self, RestoreError> {
        Self::restore(config, Vec::new(), Vec::new(), now)
    }

    /// A participant with the persisted entries of its past, each kind in the order persisted.
    pub fn restore(
        _config: Config,
        _records: Vec<Vec<u8>>,
        _wal: Vec<Vec<u8>>,
        _now: Time,
    ) -> Result<Self, RestoreError> {
        unimplemented!("arrives with the next commit")
    }

    /// Takes one input in.
    pub fn handle(&mut self, _now: Time, _input: Input) {}

    /// The next thing to do, in order; `None` when all is done.
    pub fn poll_output(&mut self) -> Option<Output> {
        None
    }

    /// When to call [`handle`](Self::handle) with [`Input::Tick`] at the latest.
    pub fn next_timeout(&self) -> Option<Time> {
        None
    }

    /// What it is doing.
    pub fn status(&self) -> Status {
        unimplemented!("arrives with the next commit")
    }
}
