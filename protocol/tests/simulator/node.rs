//! One simulated node: its participant while it runs, what is on its disk, what it ever said.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use witan_protocol::digest::{BlobRef, Digest};
use witan_protocol::io::{Kind, Notice, Time};
use witan_protocol::member::{Round, View};
use witan_protocol::message::Step;
use witan_protocol::{Identity, Participant, Roster};

/// One node: its participant while it runs, and what is on its disk.
pub struct Node {
    pub identity: Identity,
    pub participant: Option<Participant>,
    pub records: Vec<Vec<u8>>,
    pub wal: Vec<Vec<u8>>,
    pub blobs: BTreeSet<Digest>,
    pub notices: Vec<(Time, Notice)>,
    pub trained: Vec<Round>,
    pub fetched: Vec<Digest>,
    /// Every vote it ever sent, by round, view and step.
    pub votes: BTreeMap<(Round, u32, Step), Option<Digest>>,
    /// It said, since it was last started, that every round is committed.
    pub finished: bool,
    /// It says something else besides to every second member, of this kind of message.
    pub equivocates: Option<Kind>,
    /// Every update and motion it ever sent, by round and view.
    pub said: BTreeMap<(Round, Option<View>), Digest>,
    /// The members it keeps connections with.
    pub roster: Arc<Roster>,
    /// It computes wrong aggregates.
    pub lies: bool,
    /// Its training fails, for this reason.
    pub fails: Option<&'static str>,
    pub life: u64,
}

impl Node {
    pub fn new(n: usize, start: BlobRef, roster: &Arc<Roster>) -> Self {
        Self {
            identity: Identity::from_seed([n as u8 + 1; 32]),
            participant: None,
            records: Vec::new(),
            wal: Vec::new(),
            blobs: BTreeSet::from([start.digest]),
            notices: Vec::new(),
            trained: Vec::new(),
            fetched: Vec::new(),
            votes: BTreeMap::new(),
            finished: false,
            roster: roster.clone(),
            equivocates: None,
            said: BTreeMap::new(),
            lies: false,
            fails: None,
            life: 0,
        }
    }

    /// Committed views, by round.
    pub fn committed(&self) -> Vec<(Round, u32, u64)> {
        let view = |(_, notice): &(Time, Notice)| match notice {
            Notice::Committed { round, view, included, .. } => Some((*round, view.0, *included)),
            _ => None,
        };
        self.notices.iter().filter_map(view).collect()
    }
}
