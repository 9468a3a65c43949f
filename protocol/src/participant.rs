//! The root: owns the machines and routes each input to the one it concerns. Must decide nothing.

mod inbox;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::codec;
use crate::digest::BlobRef;
use crate::federation::{Federation, Roster};
use crate::flaw::{Flaw, require};
use crate::identity::Identity;
use crate::io::{Entry, Input, Notice, Output, Time};
use crate::ledger::attendance::Attendance;
use crate::ledger::{BadRecord, Ledger, Tip};
use crate::member::{MemberId, Round as RoundNumber};
use crate::outbox::Post;
use crate::peers::Peers;
use crate::pending::petitions::Poll;
use crate::round::training;
use crate::round::{Memory, Round};
use crate::status::{Load, Status};
use crate::sync::Sync;
use crate::wire::envelope::RECORD_BYTES_MAX;
use crate::wire::{Ballot, Certified, Change, Evidence, Message, Petition, RoundRecord, Step};
use inbox::Early;

/// What a participant is made from.
#[derive(Clone, Debug)]
pub struct Config {
    /// The federation.
    pub federation: Arc<Federation>,
    /// This node's key. While its public half is not in the roster the node only watches.
    pub identity: Identity,
    /// The adapter training starts from, the same on every node.
    pub start_adapter: BlobRef,
}

/// One member's side of the protocol. Feed it with [`handle`](Self::handle), then drain
/// [`poll_output`](Self::poll_output) to `None`.
#[derive(Debug)]
pub struct Participant {
    post: Post,
    ledger: Ledger,
    round: Round,
    peers: Peers,
    sync: Sync,
    early: VecDeque<Early>,
    ahead: BTreeMap<RoundNumber, Early>,
    now: Time,
    finished: bool,
}

/// Why a participant could not be made from what was stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// The stored ledger does not hold.
    #[error("stored ledger: {0}")]
    Ledger(#[from] BadRecord),
    /// An entry of the write-ahead log cannot be read.
    #[error("write-ahead log: entry {entry} is damaged")]
    Wal {
        /// Its place, from 0.
        entry: usize,
    },
    /// The write-ahead log contradicts the votes it holds; going on could mean voting twice.
    #[error("write-ahead log: replaying it gave another vote than the one cast")]
    Diverged,
}

impl Participant {
    /// A participant with nothing stored. Its first outputs are there at once.
    pub fn new(config: Config, now: Time) -> Result<Self, RestoreError> {
        Self::restore(config, Vec::new(), Vec::new(), now)
    }

    /// A participant with the persisted entries of its past, each kind in the order persisted.
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
        let mut post = Post::new(federation, Arc::clone(&tip.roster), identity);
        let memories = memories(&wal, tip.round)?;
        post.push(Output::Roster(Arc::clone(&tip.roster)));
        let mut round = Round::new(&post, tip, &holders, now);
        round.recall(now, &mut post, memories).map_err(|_| RestoreError::Diverged)?;
        let (peers, sync) = (Peers::new(now), Sync::new(now));
        let (early, ahead) = (VecDeque::new(), BTreeMap::new());
        let mut participant =
            Self { post, ledger, round, peers, sync, early, ahead, now, finished: false };
        participant.settle();
        Ok(participant)
    }

    /// Takes one input in.
    pub fn handle(&mut self, now: Time, input: Input) {
        self.now = now.max(self.now);
        let now = self.now;
        match input {
            Input::Tick => {}
            Input::PeerConnected(member) => {
                self.peers.on_connected(member, now);
                self.sync.on_connected(&mut self.post, &self.round, member);
            }
            Input::PeerDisconnected(member) => self.peers.on_disconnected(member, now),
            Input::Message { via, bytes } => self.on_bytes(via, bytes),
            Input::Opened { via, opened } => self.on_opened(via, *opened),
            Input::Progress { job, step, steps, loss } => {
                self.round.on_progress(&mut self.post, job, (step, steps), loss);
            }
            Input::Trained { job, delta, examples, steps, scores } => {
                let trained = training::Trained { delta, examples, steps, scores };
                self.round.on_trained(&mut self.post, job, trained);
            }
            Input::TrainFailed { job, reason } => {
                self.round.on_train_failed(&mut self.post, job, &reason);
            }
            Input::Aggregated { job, result } => {
                self.round.on_aggregated(now, &self.post, job, result);
            }
            Input::Cast(ballot) => self.cast(ballot),
            Input::BlobStored(blob) => self.round.on_blob_stored(&blob),
            Input::Adopted { job } => self.round.on_adopted(job),
        }
        self.settle();
    }

    /// The next thing to do, in order; `None` when all is done.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.post.pop()
    }

    /// When to call [`handle`](Self::handle) with [`Input::Tick`] at the latest.
    pub fn next_timeout(&self) -> Option<Time> {
        if self.round.is_finished() {
            return None;
        }
        let regular = Time(self.now.0 + TICK_MS);
        Some(self.round.council.next_timeout().map_or(regular, |at| at.min(regular)))
    }

    /// What it is doing.
    pub fn status(&self) -> Status {
        let (post, round) = (&self.post, &self.round);
        let view = round.council.view();
        let tally = round.council.tally();
        let stalled = self.sync.stalled();
        let waiting_for = match stalled {
            _ if post.place().is_none() => Vec::new(),
            [] if !round.is_last() && !round.council.is_open() => {
                round.waiting_for(self.now, post, &self.peers)
            }
            missing => missing.to_vec(),
        };
        let deltas_in = round.updates.keys().filter(|place| round.has_delta(**place)).count();
        let waiting_until = if round.council.is_open() {
            round.council.next_timeout()
        } else {
            round.deadline(post)
        };
        Status {
            round: round.tip.round,
            rounds: post.federation.document().training.rounds,
            phase: round.phase(post),
            view,
            aggregator: round.council.aggregator(view),
            waiting_for,
            waiting_until: waiting_until.filter(|_| !round.is_last()),
            updates_in: round.updates.len() as u64,
            deltas_in: deltas_in as u64,
            prevotes: tally.voters(view, Step::Prevote).count() as u64,
            precommits: tally.voters(view, Step::Precommit).count() as u64,
            quorum: post.roster.quorum() as u64,
            head: round.tip.head,
            adapter: round.tip.adapter,
            connected: self.peers.connected().iter().copied().collect(),
            missing: self.missing(),
            stalled: (!stalled.is_empty()).then(|| {
                let names: Vec<_> = stalled.iter().map(|m| post.roster.name_of(m)).collect();
                let (votes, quorum) = (post.roster.size() - stalled.len(), post.roster.quorum());
                format!("{votes} of {quorum} votes; missing: {}", names.join(", "))
            }),
        }
    }

    /// What it holds: for watching, never for deciding.
    pub fn load(&self) -> Load {
        let council = self.round.council.load();
        Load {
            early: self.early.len(),
            updates: self.round.updates.len(),
            late: self.round.late_count(),
            evidence: self.round.agenda.evidence().count(),
            petitions: self.round.agenda.polls.iter().count(),
            heard: self.round.heard_count(),
            blobs: self.round.shelf.len(),
            cases: self.round.cases_open(),
            aggregations: self.round.aggregations(),
            outputs: self.post.queued(),
            ..council
        }
    }

    /// The members of the round at hand.
    pub fn roster(&self) -> &Arc<Roster> {
        &self.post.roster
    }

    /// The petition that this member may put for a change now.
    pub fn petition(&self, change: Change) -> Result<Petition, Flaw> {
        let (by, opened) = (self.post.member(), self.round.tip.round);
        let (petition, open) = (Petition { by, opened, change }, !self.round.is_last());
        require(open && self.post.place().is_some(), "petition", "a member's, in a round", "late")?;
        petition.check(&self.round.tip)?;
        let is_first = self.polls().all(|poll| poll.petition.by != by);
        require(is_first, "petition", "one open petition a member", "a second one")?;
        Ok(petition)
    }

    /// The petitions under vote, oldest first.
    pub fn polls(&self) -> impl Iterator<Item = &Poll> {
        self.round.agenda.polls.iter()
    }

    /// Proofs of equivocation that no record has shown yet.
    pub fn evidence(&self) -> impl Iterator<Item = &Evidence> {
        self.round.agenda.evidence()
    }

    /// Once every round is committed: members who took no part in the last one and are not here.
    fn missing(&self) -> Vec<MemberId> {
        let last = RoundNumber(self.round.tip.round.0 - 1);
        let record = self.ledger.record(last).filter(|_| self.round.is_last());
        let Some(record) = record.and_then(|bytes| codec::decode(bytes, RECORD_BYTES_MAX).ok())
        else {
            return Vec::new();
        };
        let (record, roster): (RoundRecord, _) = (record, &self.post.roster);
        let Attendance { expected, present, .. } = record.attendance(roster);
        let is_missing = |member: &MemberId| {
            *member != self.post.member()
                && !present.contains(member)
                && !self.peers.is_live(member, self.now)
        };
        expected.into_iter().filter(is_missing).collect()
    }

    /// Lets the round take every step that is due, committing as often as it decides.
    fn settle(&mut self) {
        let now = self.now;
        while let Some(record) = self.round.advance(now, &mut self.post, &self.peers) {
            self.commit(&record, now);
        }
        self.sync.on_tick(now, &mut self.post, &self.round, &mut self.peers);
        if self.round.is_finished() && !self.finished {
            self.finished = true;
            let members = self.missing();
            if !members.is_empty() {
                self.post.notice(Notice::Missing { members });
            }
            self.post.notice(Notice::Finished);
        }
    }

    /// Appends a checked record, durably, and begins what follows from it.
    fn commit(&mut self, record: &RoundRecord, fetch_from: Time) {
        let round = record.proposal.round;
        let here = self.round.shelf.has(&record.proposal.result);
        self.ledger.append(record);
        self.post.persist(Entry::Record { round, bytes: record.encode() });
        self.post.notice(Notice::Committed {
            round,
            view: record.certificate.view,
            aggregator: record.proposal.aggregator,
            included: record.proposal.included.len() as u64,
            votes: record.certificate.signatures.len() as u64,
            record: record.digest(),
            result: record.proposal.result,
        });
        self.tell_suspended(record);
        let tip = self.ledger.tip().clone();
        self.follow(&tip, record);
        let mut agenda = std::mem::take(&mut self.round.agenda);
        agenda.settle(&tip);
        let next = Round::new(&self.post, tip, &signers(record), fetch_from);
        let before = std::mem::replace(&mut self.round, next);
        self.round.agenda = agenda;
        self.round.remember_ballots(&mut self.post);
        if here {
            self.round.shelf.put(record.proposal.result);
        }
        self.round.inherit(&mut self.post, before);
        self.replay_early();
        self.replay_ahead();
    }

    /// Takes over the roster that follows from a record. Whoever leaves is given the record: nobody
    /// will talk to it any more.
    fn follow(&mut self, tip: &Tip, record: &RoundRecord) {
        let Some(decision) = &record.proposal.decision else {
            return;
        };
        let old = std::mem::replace(&mut self.post.roster, Arc::clone(&tip.roster));
        let (round, me) = (record.proposal.round, self.post.member());
        let leave = |member: &MemberId| *member != me && !tip.roster.contains(member);
        for member in old.members().iter().map(|member| member.id()).filter(leave) {
            let certified = Certified { round, until: tip.round, record: record.encode() };
            self.post.send(member, &Message::Certified(certified));
        }
        self.post.push(Output::Roster(Arc::clone(&tip.roster)));
        let what = decision.petition.change.to_string();
        self.post.notice(Notice::RosterChanged { round: tip.round, what });
    }

    /// This member's people vote, or put a petition.
    fn cast(&mut self, ballot: Ballot) {
        let (round, against) = (self.round.tip.round, self.post.member());
        let cast = match self.post.place() {
            Some(_) => self.round.cast(&mut self.post, ballot),
            None => return,
        };
        if let Err(flaw) = cast {
            let because = format!("own ballot: {flaw}");
            self.post.notice(Notice::Objection { round, against, because });
        }
    }

    /// Names those whom a record takes the seat from.
    fn tell_suspended(&mut self, record: &RoundRecord) {
        let round = record.proposal.round;
        for evidence in &record.proposal.evidence {
            let because = evidence.check(&self.post.roster).unwrap_or_default();
            self.post.notice(Notice::Suspended { round, member: evidence.member, because });
        }
    }
}

/// Who signed a record's certificate: they have its adapter, for they recomputed it.
fn signers(record: &RoundRecord) -> Vec<MemberId> {
    record.certificate.signatures.iter().map(|commit| commit.member).collect()
}

/// What was remembered of `round`; entries of other rounds are history.
fn memories(wal: &[Vec<u8>], round: RoundNumber) -> Result<Vec<Memory>, RestoreError> {
    let mut memories = Vec::new();
    for (entry, bytes) in wal.iter().enumerate() {
        let (of, memory): (RoundNumber, Memory) =
            codec::decode(bytes, WAL_ENTRY_BYTES_MAX).map_err(|_| RestoreError::Wal { entry })?;
        if of == round {
            memories.push(memory);
        }
    }
    Ok(memories)
}

/// How often waits without a timer of their own are looked at.
const TICK_MS: u64 = 250;

/// Bytes an entry may have: a few motions and the votes of many views.
const WAL_ENTRY_BYTES_MAX: usize = 64 * RECORD_BYTES_MAX;
