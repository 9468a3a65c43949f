//! The current round: adopt the adapter it starts from, train, collect, decide.
//!
//! One [`Round`] lives from the commit of the round before it to its own. Its parts run side by
//! side: a member that still trains votes like the others. [`Round::advance`] takes every step that
//! is due; it is called after every input and is harmless at any moment.

mod aggregates;
mod ballots;
mod blobs;
mod collecting;
mod late;
mod objections;
pub(crate) mod training;
mod verdict;

use std::collections::BTreeMap;

use crate::consensus::LoggedInput;
use crate::consensus::{Action, Consensus, Diverged};
use crate::digest::{BlobRef, Digest};
use crate::flaw::Flaw;
use crate::io::{Entry, JobId, Notice, Output, Time};
use crate::ledger::Tip;
use crate::member::{MemberId, View};
use crate::outbox::Outbox;
use crate::peers::Peers;
use crate::pending::Pending;
use crate::status::{Load, PhaseName};
use crate::wire::{Certificate, Evidence, MemberSet, Message, RoundRecord, Update};
use aggregates::Aggregates;
use blobs::Blobs;
use late::Late;
use objections::Objections;
use serde::{Deserialize, Serialize};
use training::OwnTraining;
use verdict::Verification;

/// Everything about the first round without a record.
#[derive(Debug)]
pub(crate) struct Round {
    /// The ledger state it follows from.
    pub tip: Tip,
    /// The vote.
    pub consensus: Consensus,
    /// The blobs.
    pub blobs: Blobs,
    /// Updates held, by place in the roster.
    pub updates: BTreeMap<usize, HeldUpdate>,
    late: BTreeMap<usize, Late>,
    own: OwnTraining,
    adoption: Adoption,
    refused: BTreeMap<usize, String>,
    sits_out: MemberSet,
    heard: BTreeMap<usize, Vec<u8>>,
    objections: Objections,
    aggregates: Aggregates,
    verifications: BTreeMap<Digest, Verification>,
    began: Option<Time>,
    collected: bool,
    last: bool,
    /// Evidence and petitions for the record.
    pub pending: Pending,
}

/// An update and its envelope.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct HeldUpdate {
    /// The update.
    pub update: Update,
    /// The envelope as signed.
    pub envelope: Vec<u8>,
}

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// New and accepted.
    New,
    /// Known already.
    Known,
    /// Refused, for this reason.
    Refused(String),
}

impl From<bool> for Admission {
    /// New, or known.
    fn from(is_new: bool) -> Self {
        if is_new { Self::New } else { Self::Known }
    }
}

impl From<Flaw> for Admission {
    /// Refused.
    fn from(flaw: Flaw) -> Self {
        Self::Refused(flaw.to_string())
    }
}

/// One entry of the write-ahead log. The names on disk are those of its first version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum WalEntry {
    /// This member's update, in its envelope: a restart does not train again.
    Update(#[serde(with = "serde_bytes")] Vec<u8>),
    /// Inputs of the vote.
    #[serde(rename = "Council")]
    Consensus(Vec<LoggedInput>),
    /// A ballot, in its envelope; logged again in each round while its petition is open.
    Ballot(#[serde(with = "serde_bytes")] Vec<u8>),
}

/// Loading the adapter that the round starts from.
#[derive(Debug)]
enum Adoption {
    /// Its blob may be missing; not asked for before this time.
    Fetching(Time),
    Loading(JobId),
    Done,
}

impl Round {
    /// The round after `tip`. `holders` have its adapter; it is fetched from time `fetch_from` on.
    pub(crate) fn new(outbox: &Outbox, tip: Tip, holders: &[MemberId], fetch_from: Time) -> Self {
        let consensus = Consensus::new(&outbox.federation, &outbox.identity, &tip);
        let mut blobs = Blobs::default();
        let first = tip.round.0 == 1;
        if first {
            blobs.put(tip.adapter);
        } else {
            holders.iter().for_each(|holder| blobs.want(tip.adapter, *holder));
        }
        let adoption = if first { Adoption::Done } else { Adoption::Fetching(fetch_from) };
        let last = tip.round.0 > outbox.federation.document().training.rounds;
        Self {
            tip,
            consensus,
            blobs,
            updates: BTreeMap::new(),
            late: BTreeMap::new(),
            own: OwnTraining::Idle,
            adoption,
            refused: BTreeMap::new(),
            sits_out: MemberSet(0),
            heard: BTreeMap::new(),
            objections: Objections::default(),
            aggregates: Aggregates::default(),
            verifications: BTreeMap::new(),
            began: None,
            collected: false,
            last,
            pending: Pending::default(),
        }
    }

    /// Takes in the write-ahead log of this round.
    pub(crate) fn restore(
        &mut self,
        now: Time,
        outbox: &mut Outbox,
        entries: Vec<WalEntry>,
    ) -> Result<(), Diverged> {
        let mut inputs = Vec::new();
        for entry in entries {
            match entry {
                WalEntry::Update(envelope) => self.restore_update(outbox, envelope),
                WalEntry::Consensus(logged) => inputs.extend(logged),
                WalEntry::Ballot(envelope) => self.restore_ballot(&envelope),
            }
        }
        self.consensus.replay(now, &inputs)
    }

    /// Whether every round is committed and the last adapter loaded.
    pub(crate) fn is_finished(&self) -> bool {
        self.last && matches!(self.adoption, Adoption::Done)
    }

    /// Whether every round is committed.
    pub(crate) fn is_last(&self) -> bool {
        self.last
    }

    /// How much it holds.
    pub(crate) fn load(&self) -> Load {
        Load {
            updates: self.updates.len(),
            late: self.late.len(),
            evidence: self.pending.evidence_count(),
            petitions: self.pending.petitions.iter().count(),
            heard: self.heard.len(),
            blobs: self.blobs.len(),
            verifications: self.verifications.len(),
            aggregations: self.aggregates.len(),
            ..self.consensus.load()
        }
    }

    /// The phase of the round.
    pub(crate) fn phase(&self, outbox: &Outbox) -> PhaseName {
        if outbox.place().is_none() {
            PhaseName::Watching
        } else if !matches!(self.adoption, Adoption::Done) {
            PhaseName::Adopting
        } else if self.last {
            PhaseName::Finished
        } else if self.consensus.is_open() {
            PhaseName::Deciding
        } else if matches!(self.own, OwnTraining::Running(_) | OwnTraining::Overrun(_)) {
            PhaseName::Training
        } else {
            PhaseName::Collecting
        }
    }

    /// A blob is stored.
    pub(crate) fn on_blob_stored(&mut self, blob: &BlobRef) {
        self.blobs.on_stored(blob);
    }

    /// The adapter is loaded.
    pub(crate) fn on_adopted(&mut self, job: JobId) {
        if matches!(self.adoption, Adoption::Loading(loading) if loading == job) {
            self.adoption = Adoption::Done;
        }
    }

    /// Takes every step that is due; returns the record once the round is decided. A node that is
    /// not a member takes none.
    pub(crate) fn advance(
        &mut self,
        now: Time,
        outbox: &mut Outbox,
        peers: &Peers,
    ) -> Option<RoundRecord> {
        outbox.place()?;
        self.adopt(now, outbox);
        if self.last {
            return None;
        }
        self.begin(now, outbox);
        self.consensus.on_tick(now);
        self.collect(now, outbox, peers);
        self.verify(now, outbox);
        self.propose(now, outbox);
        // Until the start adapter is due, only `adopt` asks: when several records arrive at once,
        // only the newest adapter is fetched.
        if !matches!(self.adoption, Adoption::Fetching(_)) {
            self.blobs.ask(now, outbox);
        }
        self.act(outbox)
    }

    fn adopt(&mut self, now: Time, outbox: &mut Outbox) {
        let Adoption::Fetching(from) = self.adoption else {
            return;
        };
        if self.blobs.has(&self.tip.adapter) {
            let (job, adapter) = (outbox.job(), self.tip.adapter);
            let round = crate::member::Round(self.tip.round.0 - 1);
            outbox.push(Output::Adopt { job, round, adapter });
            self.adoption = Adoption::Loading(job);
        } else if now >= from {
            self.blobs.ask(now, outbox);
        }
    }

    /// Starts training as soon as the adapter is loaded.
    fn begin(&mut self, now: Time, outbox: &mut Outbox) {
        if self.began.is_some() || !matches!(self.adoption, Adoption::Done) {
            return;
        }
        self.began = Some(now);
        let (round, view) = (self.tip.round, self.consensus.view());
        outbox.notice(Notice::RoundStarted { round });
        let aggregator = self.consensus.aggregator(view);
        outbox.notice(Notice::ViewStarted { round, view, aggregator });
        self.train(outbox);
    }

    /// Carries out the actions of the vote.
    fn act(&mut self, outbox: &mut Outbox) -> Option<RoundRecord> {
        let round = self.tip.round;
        let mut decided = None;
        while let Some(action) = self.consensus.next_action() {
            match action {
                Action::Persist(inputs) => self.log(outbox, &WalEntry::Consensus(inputs)),
                Action::Broadcast(signed) => outbox.gossip_signed(&signed),
                Action::ViewStarted(view) => {
                    let before = View(view.0.saturating_sub(1));
                    let aggregator = self.consensus.aggregator(before);
                    outbox.notice(Notice::ViewFailed { round, view: before, aggregator });
                    let aggregator = self.consensus.aggregator(view);
                    outbox.notice(Notice::ViewStarted { round, view, aggregator });
                }
                Action::Equivocated(evidence) => self.accuse(outbox, evidence),
                // This member's precommit that made the quorum may follow: the others need it.
                Action::Decided { value, certificate } => decided = self.record(value, certificate),
            }
        }
        decided
    }

    /// A member equivocated: the proof is sent to everybody, once, and goes into a record.
    pub(super) fn accuse(&mut self, outbox: &mut Outbox, evidence: Evidence) {
        if self.on_evidence(outbox, &evidence).is_ok_and(|is_new| is_new) {
            outbox.gossip(&Message::Evidence(evidence));
        }
    }

    /// Takes evidence in, found here or sent by a member; checks it in full. Returns whether it is
    /// new.
    pub(crate) fn on_evidence(
        &mut self,
        outbox: &mut Outbox,
        evidence: &Evidence,
    ) -> Result<bool, Flaw> {
        let what = evidence.check(&self.tip.roster)?;
        let is_new = self.pending.accuse(&self.tip, evidence.clone());
        if is_new {
            let (round, against) = (evidence.round, evidence.member);
            outbox.notice(Notice::Objection {
                round,
                against,
                because: format!("it signed {what}"),
            });
        }
        Ok(is_new)
    }

    fn record(&self, value: Digest, certificate: Certificate) -> Option<RoundRecord> {
        let proposal = self.consensus.proposal(&value)?.clone();
        Some(RoundRecord { proposal, certificate })
    }

    pub(super) fn log(&self, outbox: &mut Outbox, entry: &WalEntry) {
        let round = self.tip.round;
        let bytes = crate::codec::encode(&(round, entry));
        outbox.persist(Entry::Wal { round, bytes });
    }

    fn place_of(&self, outbox: &Outbox, member: &MemberId) -> usize {
        outbox.roster.place_of(member).expect("envelopes of strangers are not opened")
    }
}

/// A reason cut to so many bytes, on one line.
fn shortened(reason: &str, bytes_max: usize) -> String {
    let mut short = String::new();
    for c in reason.chars().filter(|c| !c.is_control()) {
        if short.len() + c.len_utf8() > bytes_max {
            break;
        }
        short.push(c);
    }
    short
}
