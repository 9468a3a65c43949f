//! One member of the simulated federation: its participant while it runs, and its disk.

use std::collections::BTreeSet;
use std::sync::Arc;

use witan_protocol::digest::BlobRef;
use witan_protocol::io::{Notice, Time};
use witan_protocol::member::Round;
use witan_protocol::{Identity, Participant, Roster};

use crate::byzantine::Liar;
use crate::faults::Point;
use crate::model;

/// One member.
pub struct Node {
    /// Its key.
    pub identity: Identity,
    /// While it runs.
    pub participant: Option<Participant>,
    /// The members it keeps connections with.
    pub roster: Arc<Roster>,
    /// On its disk: the ledger.
    pub records: Vec<Vec<u8>>,
    /// On its disk: the write-ahead log.
    pub wal: Vec<Vec<u8>>,
    /// On its disk: blobs.
    pub blobs: BTreeSet<BlobRef>,
    /// Its notices, without those of messages sent and accepted.
    pub notices: Vec<(Time, Notice)>,
    /// Rounds it trained for, as often as it did.
    pub trained: Vec<Round>,
    /// Blobs it fetched.
    pub fetched: Vec<BlobRef>,
    /// Records it accepted from members ahead.
    pub caught_up: u64,
    /// It reported since its last start that every round is committed.
    pub finished: bool,
    /// How it lies, if it does.
    pub liar: Option<Liar>,
    /// Its training takes so many times as long.
    pub slowness: u64,
    /// Its training fails, for this reason.
    pub fails: Option<&'static str>,
    /// Where it is to die, and for how long.
    pub doom: Option<(Point, u64)>,
    /// How often it was stopped: what was under way in one life is lost to the next.
    pub life: u64,
    pub(super) wakes: Option<Time>,
}

impl Node {
    /// A member that has nothing and does not run.
    pub fn new(identity: Identity, founders: &Arc<Roster>) -> Self {
        Self {
            identity,
            participant: None,
            roster: Arc::clone(founders),
            records: Vec::new(),
            wal: Vec::new(),
            blobs: BTreeSet::from([model::start()]),
            notices: Vec::new(),
            trained: Vec::new(),
            fetched: Vec::new(),
            caught_up: 0,
            finished: false,
            liar: None,
            slowness: 1,
            fails: None,
            doom: None,
            life: 0,
            wakes: None,
        }
    }

    /// Runs from now on; its first output is the roster it found on its disk.
    pub fn start(&mut self, participant: Participant, founders: &Arc<Roster>) {
        self.roster = Arc::clone(founders);
        self.finished = false;
        self.wakes = None;
        self.participant = Some(participant);
    }

    /// Dies; its disk stays.
    pub fn stop(&mut self) {
        self.participant = None;
        self.doom = None;
        self.life += 1;
    }

    /// The running participant.
    pub fn running(&self) -> &Participant {
        self.participant.as_ref().expect("only asked of members that run")
    }

    /// Whether it is a member, as it has the roster.
    pub fn is_member(&self) -> bool {
        self.roster.contains(&self.identity.member())
    }

    /// What it committed itself or caught up with: round, view, updates included.
    pub fn committed(&self) -> Vec<(Round, u32, u64)> {
        let view = |(_, notice): &(Time, Notice)| match notice {
            Notice::Committed { round, view, included, .. } => Some((*round, view.0, *included)),
            _ => None,
        };
        self.notices.iter().filter_map(view).collect()
    }
}
