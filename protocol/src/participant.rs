//! The root: owns the state machines and routes each input to one of them. Must decide nothing.

mod inbox;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::codec;
use crate::digest::BlobRef;
use crate::federation::{Federation, Roster};
use crate::flaw::{Flaw, require};
use crate::identity::Identity;
use crate::io::{Entry, Input, Notice, Output, Time};
use crate::ledger::{Attendance, BadRecord, Ledger, Tip};
use crate::member::{MemberId, Round as RoundNumber};
use crate::outbox::Outbox;
use crate::peers::Peers;
use crate::pending::OpenPetition;
use crate::round::training;
use crate::round::{Round, WalEntry};
use crate::status::{Load, Status};
use crate::sync::Sync;
use crate::wire::envelope::RECORD_BYTES_MAX;
use crate::wire::{Ballot, Change, Message, Petition, RecordCopy, RoundRecord, VoteStep};
use inbox::Received;

/// What a participant is made from.
#[derive(Clone, Debug)]
pub struct Config {
    /// The federation.
    pub federation: Arc<Federation>,
    /// This node's key. While its public half is not in the roster, the node only watches.
    pub identity: Identity,
    /// The adapter training starts from, the same on every node.
    pub start_adapter: BlobRef,
}

/// One member's side of the protocol. Feed it with [`handle`](Self::handle), then drain
/// [`poll_output`](Self::poll_output) to `None`.
#[derive(Debug)]
pub struct Participant {
    outbox: Outbox,
    ledger: Ledger,
    round: Round,
    peers: Peers,
    sync: Sync,
    early: VecDeque<Received>,
    ahead: BTreeMap<RoundNumber, Received>,
    now: Time,
    finished: bool,
}

/// Why a participant could not be restored from the store.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// A stored record is wrong.
    #[error("stored ledger: {0}")]
    Ledger(#[from] BadRecord),
    /// An entry of the write-ahead log cannot be read.
    #[error("write-ahead log: entry {entry} is damaged")]
    Wal {
        /// Its place, from 0.
        entry: usize,
    },
    /// The write-ahead log contradicts the votes in it; to go on could mean voting twice.
    #[error("write-ahead log: replaying it gave another vote than the one cast")]
    Diverged,
}

impl Participant {
    /// A participant with an empty store. Its first outputs are ready at once.
    pub fn new(config: Config, now: Time) -> Result<Self, RestoreError> {
        Self::restore(config, Vec::new(), Vec::new(), now)
    }

    /// A participant restored from what it persisted, each kind of entry in the order persisted.
    pub fn restore(
        config: Config,
        records: Vec<Vec<u8>>,
        wal: Vec<Vec<u8>>,
        now: Time,
    ) -> Result<Self, RestoreError> {
        let Config { federation, identity, start_adapter } = config;
        let me = identity.member();
        let mut ledger = Ledger::new(federation.clone(), start_adapter);
        let mut holders = vec![me];
        for bytes in &records {
            let record = ledger.check(bytes)?;
            ledger.append(&record);
            holders = signers(&record);
        }
        let tip = ledger.tip().clone();
        let mut outbox = Outbox::new(federation, Arc::clone(&tip.roster), identity);
        let entries = wal_entries(&wal, tip.round)?;
        outbox.push(Output::Roster(Arc::clone(&tip.roster)));
        let mut round = Round::new(&outbox, tip, &holders, now);
        round.restore(now, &mut outbox, entries).map_err(|_| RestoreError::Diverged)?;
        let (peers, sync) = (Peers::new(now), Sync::new(now));
        let (early, ahead) = (VecDeque::new(), BTreeMap::new());
        let mut participant =
            Self { outbox, ledger, round, peers, sync, early, ahead, now, finished: false };
        participant.settle();
        Ok(participant)
    }

    /// Handles one input.
    pub fn handle(&mut self, now: Time, input: Input) {
        self.now = now.max(self.now);
        let now = self.now;
        match input {
            Input::Tick => {}
            Input::PeerConnected(member) => {
                self.peers.on_connected(member, now);
                self.sync.on_connected(&mut self.outbox, &self.round, member);
            }
            Input::PeerDisconnected(member) => self.peers.on_disconnected(member, now),
            Input::Message { via, opened } => self.on_opened(via, *opened),
            Input::Progress { job, step, steps, loss } => {
                self.round.on_progress(&mut self.outbox, job, (step, steps), loss);
            }
            Input::Trained { job, delta, examples, steps, scores } => {
                let trained = training::Trained { delta, examples, steps, scores };
                self.round.on_trained(&mut self.outbox, job, trained);
            }
            Input::TrainFailed { job, reason } => {
                self.round.on_train_failed(&mut self.outbox, job, &reason);
            }
            Input::Aggregated { job, result } => {
                self.round.on_aggregated(now, &self.outbox, job, result);
            }
            Input::Cast(ballot) => self.cast(ballot),
            Input::BlobStored(blob) => self.round.on_blob_stored(&blob),
            Input::Adopted { job } => self.round.on_adopted(job),
        }
        self.settle();
    }

    /// The next output, in order; `None` when there is none left.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outbox.pop()
    }

    /// When to call [`handle`](Self::handle) with [`Input::Tick`] at the latest.
    pub fn next_timeout(&self) -> Option<Time> {
        if self.round.is_finished() {
            return None;
        }
        let regular = Time(self.now.0 + TICK_MS);
        Some(self.round.consensus.next_timeout().map_or(regular, |at| at.min(regular)))
    }

    /// A snapshot for people.
    pub fn status(&self) -> Status {
        let (outbox, round) = (&self.outbox, &self.round);
        let view = round.consensus.view();
        let tally = round.consensus.tally();
        let stalled = self.sync.stalled();
        let waiting_for = match stalled {
            _ if outbox.place().is_none() => Vec::new(),
            [] if !round.is_last() && !round.consensus.is_open() => {
                round.waiting_for(self.now, outbox, &self.peers)
            }
            missing => missing.to_vec(),
        };
        let deltas_in = round.updates.keys().filter(|place| round.has_delta(**place)).count();
        let waiting_until = if round.consensus.is_open() {
            round.consensus.next_timeout()
        } else {
            round.deadline(outbox)
        };
        Status {
            round: round.tip.round,
            rounds: outbox.federation.document().training.rounds,
            phase: round.phase(outbox),
            view,
            aggregator: round.consensus.aggregator(view),
            waiting_for,
            waiting_until: waiting_until.filter(|_| !round.is_last()),
            updates_in: round.updates.len() as u64,
            deltas_in: deltas_in as u64,
            prevotes: tally.voters(view, VoteStep::Prevote).count() as u64,
            precommits: tally.voters(view, VoteStep::Precommit).count() as u64,
            quorum: outbox.roster.quorum() as u64,
            head: round.tip.head,
            adapter: round.tip.adapter,
            connected: self.peers.connected().iter().copied().collect(),
            missing: self.missing(),
            stalled: (!stalled.is_empty()).then(|| {
                let names: Vec<_> = stalled.iter().map(|m| outbox.roster.name_of(m)).collect();
                let (votes, quorum) =
                    (outbox.roster.size() - stalled.len(), outbox.roster.quorum());
                format!("{votes} of {quorum} votes; missing: {}", names.join(", "))
            }),
        }
    }

    /// How much it holds: for tests.
    pub fn load(&self) -> Load {
        Load { early: self.early.len(), outputs: self.outbox.queued(), ..self.round.load() }
    }

    /// The members of the current round.
    pub fn roster(&self) -> &Arc<Roster> {
        &self.outbox.roster
    }

    /// The petition that this member may open for a change now.
    pub fn petition(&self, change: Change) -> Result<Petition, Flaw> {
        let (by, opened) = (self.outbox.member(), self.round.tip.round);
        let (petition, open) = (Petition { by, opened, change }, !self.round.is_last());
        require(
            open && self.outbox.place().is_some(),
            "petition",
            "a member's, in a round",
            "late",
        )?;
        petition.check(&self.round.tip)?;
        let is_first = self.petitions().all(|open| open.petition.by != by);
        require(is_first, "petition", "one open petition a member", "a second one")?;
        Ok(petition)
    }

    /// The open petitions, oldest first.
    pub fn petitions(&self) -> impl Iterator<Item = &OpenPetition> {
        self.round.pending.petitions.iter()
    }

    /// Once every round is committed: members that took no part in the last one and are not
    /// reachable.
    fn missing(&self) -> Vec<MemberId> {
        let last = RoundNumber(self.round.tip.round.0 - 1);
        let record = self.ledger.record(last).filter(|_| self.round.is_last());
        let Some(record) = record.and_then(|bytes| codec::decode(bytes, RECORD_BYTES_MAX).ok())
        else {
            return Vec::new();
        };
        let (record, roster): (RoundRecord, _) = (record, &self.outbox.roster);
        let Attendance { expected, present, .. } = record.attendance(roster);
        let is_missing = |member: &MemberId| {
            *member != self.outbox.member()
                && !present.contains(member)
                && !self.peers.is_live(member, self.now)
        };
        expected.into_iter().filter(is_missing).collect()
    }

    /// Takes every step that is due, and commits each round that is decided.
    fn settle(&mut self) {
        let now = self.now;
        while let Some(record) = self.round.advance(now, &mut self.outbox, &self.peers) {
            self.commit(&record, now);
        }
        self.sync.on_tick(now, &mut self.outbox, &self.round, &mut self.peers);
        if self.round.is_finished() && !self.finished {
            self.finished = true;
            let members = self.missing();
            if !members.is_empty() {
                self.outbox.notice(Notice::Missing { members });
            }
            self.outbox.notice(Notice::Finished);
        }
    }

    /// Appends a checked record, durably, and begins the next round.
    fn commit(&mut self, record: &RoundRecord, fetch_from: Time) {
        let round = record.proposal.round;
        let here = self.round.blobs.has(&record.proposal.result);
        self.ledger.append(record);
        self.outbox.persist(Entry::Record { round, bytes: record.encode() });
        self.outbox.notice(Notice::Committed {
            round,
            view: record.certificate.view,
            aggregator: record.proposal.aggregator,
            included: record.proposal.included.len() as u64,
            votes: record.certificate.signatures.len() as u64,
            record: record.digest(),
            result: record.proposal.result,
        });
        self.notice_suspended(record);
        let tip = self.ledger.tip().clone();
        self.change_roster(&tip, record);
        let mut pending = std::mem::take(&mut self.round.pending);
        pending.prune(&tip);
        let next = Round::new(&self.outbox, tip, &signers(record), fetch_from);
        let before = std::mem::replace(&mut self.round, next);
        self.round.pending = pending;
        self.round.log_ballots(&mut self.outbox);
        if here {
            self.round.blobs.put(record.proposal.result);
        }
        self.round.inherit(&mut self.outbox, before);
        self.replay_early();
        self.replay_ahead();
    }

    /// Applies the roster change of a record. A member that leaves is sent the record: nobody will
    /// connect to it any more.
    fn change_roster(&mut self, tip: &Tip, record: &RoundRecord) {
        let Some(decision) = &record.proposal.decision else {
            return;
        };
        let old = std::mem::replace(&mut self.outbox.roster, Arc::clone(&tip.roster));
        let (round, me) = (record.proposal.round, self.outbox.member());
        let leave = |member: &MemberId| *member != me && !tip.roster.contains(member);
        for member in old.members().iter().map(|member| member.id()).filter(leave) {
            let certified = RecordCopy { round, until: tip.round, record: record.encode() };
            self.outbox.send(member, &Message::Record(certified));
        }
        self.outbox.push(Output::Roster(Arc::clone(&tip.roster)));
        let what = decision.petition.change.to_string();
        self.outbox.notice(Notice::RosterChanged { round: tip.round, what });
    }

    /// The operator votes, or opens a petition.
    fn cast(&mut self, ballot: Ballot) {
        let (round, against) = (self.round.tip.round, self.outbox.member());
        let cast = match self.outbox.place() {
            Some(_) => self.round.cast(&mut self.outbox, ballot),
            None => return,
        };
        if let Err(flaw) = cast {
            let because = format!("own ballot: {flaw}");
            self.outbox.notice(Notice::Objection { round, against, because });
        }
    }

    /// Reports the members that may not lead any more by a record.
    fn notice_suspended(&mut self, record: &RoundRecord) {
        let round = record.proposal.round;
        for evidence in &record.proposal.evidence {
            let because = evidence.check(&self.outbox.roster).unwrap_or_default();
            self.outbox.notice(Notice::Suspended { round, member: evidence.member, because });
        }
    }
}

/// Who signed a record's certificate: they recomputed its adapter, so they have it.
fn signers(record: &RoundRecord) -> Vec<MemberId> {
    record.certificate.signatures.iter().map(|commit| commit.member).collect()
}

/// The entries of the write-ahead log that belong to `round`; others are of no use any more.
fn wal_entries(wal: &[Vec<u8>], round: RoundNumber) -> Result<Vec<WalEntry>, RestoreError> {
    let mut entries = Vec::new();
    for (entry, bytes) in wal.iter().enumerate() {
        let (of, wal_entry): (RoundNumber, WalEntry) =
            codec::decode(bytes, WAL_ENTRY_BYTES_MAX).map_err(|_| RestoreError::Wal { entry })?;
        if of == round {
            entries.push(wal_entry);
        }
    }
    Ok(entries)
}

/// How often conditions without a timeout of their own are checked.
const TICK_MS: u64 = 250;

/// Bytes an entry may have: a few proposals and the votes of many views.
const WAL_ENTRY_BYTES_MAX: usize = 64 * RECORD_BYTES_MAX;
