//! The round at hand: adopt what it starts from, train, collect, decide.
//!
//! One [`Round`] lives from the commit of the round before it to its own. Its parts run side by
//! side: a member still training votes all the same. [`Round::advance`] takes every step whose time
//! has come; it is called after every input and is harmless at any moment.

mod aggregates;
mod ballots;
mod blobs;
mod collecting;
mod late;
mod objections;
pub mod training;
mod verdict;

use std::collections::BTreeMap;

use crate::consensus::wal::Remembered;
use crate::consensus::{Act, Council, Diverged};
use crate::digest::{BlobRef, Digest};
use crate::io::{Entry, JobId, Notice, Output, Time};
use crate::ledger::Tip;
use crate::member::{MemberId, View};
use crate::outbox::Post;
use crate::peers::Peers;
use crate::pending::Agenda;
use crate::status::PhaseName;
use crate::wire::{Certificate, Evidence, Message, Roll, RoundRecord, Update};
use aggregates::Aggregates;
use blobs::Shelf;
use late::Late;
use objections::Objections;
use serde::{Deserialize, Serialize};
use training::Own;
use verdict::Case;

/// Everything about the first round without a record.
#[derive(Debug)]
pub struct Round {
    /// What it follows from.
    pub tip: Tip,
    /// The vote.
    pub council: Council,
    /// The blobs.
    pub shelf: Shelf,
    /// Updates held, by place in the roster.
    pub updates: BTreeMap<usize, Held>,
    late: BTreeMap<usize, Late>,
    own: Own,
    adoption: Adoption,
    refused: BTreeMap<usize, String>,
    sits_out: Roll,
    heard: BTreeMap<usize, Vec<u8>>,
    objections: Objections,
    aggregates: Aggregates,
    cases: BTreeMap<Digest, Case>,
    began: Option<Time>,
    collected: bool,
    last: bool,
    /// What the record should say besides.
    pub agenda: Agenda,
}

/// An update and its envelope.
#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    /// What it says.
    pub update: Update,
    /// As signed.
    pub envelope: Vec<u8>,
}

/// What became of an update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filed {
    /// New and accepted.
    New,
    /// Held already.
    Known,
    /// Refused, for this reason.
    Refused(String),
}

/// What is remembered of a round, one entry of the write-ahead log each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Memory {
    /// The own update, in its envelope: training is not done twice.
    Update(#[serde(with = "serde_bytes")] Vec<u8>),
    /// Steps of the vote.
    Council(Vec<Remembered>),
    /// A ballot, in its envelope; remembered anew in each round while its petition is open.
    Ballot(#[serde(with = "serde_bytes")] Vec<u8>),
}

/// Loading the adapter that the round starts from.
#[derive(Debug)]
enum Adoption {
    /// Its blob may not be here; not asked for before this time.
    Fetching(Time),
    Loading(JobId),
    Done,
}

impl Round {
    /// The round after `tip`. `holders` have its adapter; `fetch_from` delays asking for it.
    pub fn new(post: &Post, tip: Tip, holders: &[MemberId], fetch_from: Time) -> Self {
        let council = Council::new(&post.federation, &post.identity, &tip);
        let mut shelf = Shelf::default();
        let first = tip.round.0 == 1;
        if first {
            shelf.put(tip.adapter);
        } else {
            holders.iter().for_each(|holder| shelf.want(tip.adapter, *holder));
        }
        let adoption = if first { Adoption::Done } else { Adoption::Fetching(fetch_from) };
        let last = tip.round.0 > post.federation.document().training.rounds;
        Self {
            tip,
            council,
            shelf,
            updates: BTreeMap::new(),
            late: BTreeMap::new(),
            own: Own::Idle,
            adoption,
            refused: BTreeMap::new(),
            sits_out: Roll(0),
            heard: BTreeMap::new(),
            objections: Objections::default(),
            aggregates: Aggregates::default(),
            cases: BTreeMap::new(),
            began: None,
            collected: false,
            last,
            agenda: Agenda::default(),
        }
    }

    /// Lives through what was remembered of this round.
    pub fn recall(
        &mut self,
        now: Time,
        post: &mut Post,
        memories: Vec<Memory>,
    ) -> Result<(), Diverged> {
        let mut past = Vec::new();
        for memory in memories {
            match memory {
                Memory::Update(envelope) => self.recall_update(post, envelope),
                Memory::Council(steps) => past.extend(steps),
                Memory::Ballot(envelope) => self.recall_ballot(&envelope),
            }
        }
        self.council.replay(now, &past)
    }

    /// Whether every round is committed and the last adapter loaded.
    pub fn is_finished(&self) -> bool {
        self.last && matches!(self.adoption, Adoption::Done)
    }

    /// Whether every round is committed.
    pub fn is_last(&self) -> bool {
        self.last
    }

    /// How many proposals are under examination.
    pub fn cases_open(&self) -> usize {
        self.cases.len()
    }

    /// How many updates of earlier rounds are kept.
    pub fn late_count(&self) -> usize {
        self.late.len()
    }

    /// How many heartbeats are kept.
    pub fn heard_count(&self) -> usize {
        self.heard.len()
    }

    /// How many aggregations run or are done.
    pub fn aggregations(&self) -> usize {
        self.aggregates.len()
    }

    /// Where the round is.
    pub fn phase(&self, post: &Post) -> PhaseName {
        if post.place().is_none() {
            PhaseName::Watching
        } else if !matches!(self.adoption, Adoption::Done) {
            PhaseName::Adopting
        } else if self.last {
            PhaseName::Finished
        } else if self.council.is_open() {
            PhaseName::Deciding
        } else if matches!(self.own, Own::Training(_) | Own::Outlasting(_)) {
            PhaseName::Training
        } else {
            PhaseName::Collecting
        }
    }

    /// A blob is stored.
    pub fn on_blob_stored(&mut self, blob: &BlobRef) {
        self.shelf.on_stored(blob);
    }

    /// The adapter is loaded.
    pub fn on_adopted(&mut self, job: JobId) {
        if matches!(self.adoption, Adoption::Loading(loading) if loading == job) {
            self.adoption = Adoption::Done;
        }
    }

    /// Takes every step that is due; returns the record once the round is decided. Who is not a
    /// member takes none.
    pub fn advance(&mut self, now: Time, post: &mut Post, peers: &Peers) -> Option<RoundRecord> {
        post.place()?;
        self.adopt(now, post);
        if self.last {
            return None;
        }
        self.begin(now, post);
        self.council.on_tick(now);
        self.collect(now, post, peers);
        self.judge(now, post);
        self.propose(now, post);
        // While the start adapter waits for its time, `adopt` asks: of a row of records that arrive
        // at once only the newest adapter is fetched.
        if !matches!(self.adoption, Adoption::Fetching(_)) {
            self.shelf.ask(now, post);
        }
        self.act(post)
    }

    fn adopt(&mut self, now: Time, post: &mut Post) {
        let Adoption::Fetching(from) = self.adoption else {
            return;
        };
        if self.shelf.has(&self.tip.adapter) {
            let (job, adapter) = (post.job(), self.tip.adapter);
            let round = crate::member::Round(self.tip.round.0 - 1);
            post.push(Output::Adopt { job, round, adapter });
            self.adoption = Adoption::Loading(job);
        } else if now >= from {
            self.shelf.ask(now, post);
        }
    }

    /// Says who leads, and trains, as soon as the adapter is there.
    fn begin(&mut self, now: Time, post: &mut Post) {
        if self.began.is_some() || !matches!(self.adoption, Adoption::Done) {
            return;
        }
        self.began = Some(now);
        let (round, view) = (self.tip.round, self.council.view());
        post.notice(Notice::RoundStarted { round });
        let aggregator = self.council.aggregator(view);
        post.notice(Notice::ViewStarted { round, view, aggregator });
        self.train(post);
    }

    /// Carries out what the council wants done.
    fn act(&mut self, post: &mut Post) -> Option<RoundRecord> {
        let round = self.tip.round;
        let mut decided = None;
        while let Some(act) = self.council.pop() {
            match act {
                Act::Remember(steps) => self.remember(post, &Memory::Council(steps)),
                Act::Say(signed) => post.gossip_signed(&signed),
                Act::ViewStarted(view) => {
                    let before = View(view.0.saturating_sub(1));
                    let aggregator = self.council.aggregator(before);
                    post.notice(Notice::ViewFailed { round, view: before, aggregator });
                    let aggregator = self.council.aggregator(view);
                    post.notice(Notice::ViewStarted { round, view, aggregator });
                }
                Act::Equivocated(evidence) => self.accuse(post, evidence),
                // What follows may be the own precommit that made the quorum: the others need it.
                Act::Decided { value, certificate } => decided = self.record(value, certificate),
            }
        }
        decided
    }

    /// A member is caught: everybody is given the proof, once, and a record will show it.
    pub(super) fn accuse(&mut self, post: &mut Post, evidence: Evidence) {
        let Ok(what) = evidence.check(&self.tip.roster) else {
            return;
        };
        if self.agenda.accuse(&self.tip, evidence.clone()) {
            let (round, against) = (evidence.round, evidence.member);
            post.gossip(&Message::Evidence(evidence));
            post.notice(Notice::Objection { round, against, because: format!("it signed {what}") });
        }
    }

    fn record(&self, value: Digest, certificate: Certificate) -> Option<RoundRecord> {
        let proposal = self.council.proposal(&value)?.clone();
        Some(RoundRecord { proposal, certificate })
    }

    pub(super) fn remember(&self, post: &mut Post, memory: &Memory) {
        let round = self.tip.round;
        let bytes = crate::codec::encode(&(round, memory));
        post.persist(Entry::Wal { round, bytes });
    }

    fn place_of(&self, post: &Post, member: &MemberId) -> usize {
        post.roster.place_of(member).expect("envelopes of strangers are not opened")
    }
}

/// The head of a reason, without what would not print on one line.
pub(super) fn cut(reason: &str, bytes_max: usize) -> String {
    let mut words = String::new();
    for c in reason.chars().filter(|c| !c.is_control()) {
        if words.len() + c.len_utf8() > bytes_max {
            break;
        }
        words.push(c);
    }
    words
}
