//! The ledger: a hash chain of certified round records.
//!
//! A record names the digest of the one before it; the first names the genesis digest, which covers
//! the federation and the adapter training began from. Must never append what it has not checked:
//! every signature, the seat, the roster, the link and the quorum. What it cannot check is that a
//! result digest is the aggregate of its inputs: that takes the deltas, and the node does it.

pub mod attendance;
mod lateness;
pub mod leaders;
mod tip;

use std::sync::Arc;

use crate::codec;
use crate::digest::BlobRef;
use crate::federation::Federation;
use crate::federation::roster::Roster;
use crate::member::{MemberId, Round};
use crate::wire::envelope::{self, RECORD_BYTES_MAX};
use crate::wire::evidence;
use crate::wire::message::{Message, Polka, Roll, Step, Vote};
use crate::wire::record::{Absence, Certificate, CommitSignature, Proposal, RoundRecord, Update};
use crate::wire::refutation;
pub use lateness::{Lateness, input_of, inputs_of};
pub use tip::Tip;

/// The chain as one member has it.
#[derive(Clone, Debug)]
pub struct Ledger {
    federation: Arc<Federation>,
    records: Vec<Vec<u8>>,
    tip: Tip,
}

/// One thing wrong with a proposal or record: also what an objection says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {found}, expected {expected}")]
pub struct Flaw {
    /// The field, such as `included[3]`.
    pub field: String,
    /// What it should be.
    pub expected: String,
    /// What it is.
    pub found: String,
}

/// The first record of a chain that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("record of round {round}: {what}")]
pub struct BadRecord {
    /// The round the record stands for by its place in the chain.
    pub round: Round,
    /// What is wrong.
    pub what: Flaw,
}

impl Flaw {
    /// The same, of a part of `field`.
    fn within(self, field: &str) -> Self {
        Self { field: format!("{field}.{}", self.field), ..self }
    }
}

impl Ledger {
    /// An empty ledger.
    pub fn new(federation: Arc<Federation>, start: BlobRef) -> Self {
        let tip = Tip::genesis(&federation, start);
        Self { federation, records: Vec::new(), tip }
    }

    /// Where the chain stands.
    pub fn tip(&self) -> &Tip {
        &self.tip
    }

    /// How many rounds are committed.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether no round is committed yet.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The canonical bytes of a round's record.
    pub fn record(&self, round: Round) -> Option<&[u8]> {
        let index = usize::try_from(round.0.checked_sub(1)?).ok()?;
        self.records.get(index).map(Vec::as_slice)
    }

    /// Checks that `bytes` are the next record, in full.
    pub fn check(&self, bytes: &[u8]) -> Result<RoundRecord, BadRecord> {
        check_record(&self.federation, &self.tip, bytes)
            .map_err(|what| BadRecord { round: self.tip.round, what })
    }

    /// Appends a record that [`Ledger::check`] returned, or that the own council certified.
    pub fn append(&mut self, record: &RoundRecord) {
        debug_assert_eq!(record.proposal.round, self.tip.round, "records follow each other");
        self.tip = self.tip.after(&record.proposal);
        self.records.push(record.encode());
    }
}

/// A record that holds, with the roster that was in force in its round.
#[derive(Clone, Debug, PartialEq)]
pub struct Audited {
    /// The record.
    pub record: RoundRecord,
    /// The members of its round.
    pub roster: Arc<Roster>,
}

/// Checks a whole chain for an auditor: every update and precommit signature, every quorum of
/// distinct members, every link, roster and seat. Returns the records, or the first bad one.
pub fn audit<'a>(
    federation: &Federation,
    start: BlobRef,
    records: impl Iterator<Item = &'a [u8]>,
) -> Result<Vec<Audited>, BadRecord> {
    let mut tip = Tip::genesis(federation, start);
    let mut checked = Vec::new();
    for bytes in records {
        let record = check_record(federation, &tip, bytes)
            .map_err(|what| BadRecord { round: tip.round, what })?;
        let next = tip.after(&record.proposal);
        checked.push(Audited { record, roster: std::mem::replace(&mut tip, next).roster });
    }
    Ok(checked)
}

/// The updates a checked proposal counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counted {
    /// Those of its round, in the order of [`Proposal::included`].
    pub included: Vec<Update>,
    /// Those of earlier rounds, in the order of [`Proposal::late`].
    pub late: Vec<Update>,
}

/// Checks all of a proposal that can be checked without computing; returns the updates it counts.
/// `known` answers for envelopes of a member whose signature was checked before.
pub fn check_proposal(
    federation: &Federation,
    tip: &Tip,
    proposal: &Proposal,
    known: &dyn Fn(&MemberId, &[u8]) -> Option<Update>,
) -> Result<Counted, Flaw> {
    same("round", tip.round, proposal.round)?;
    same("previous", tip.head, proposal.previous)?;
    same("start", shown(tip.adapter), shown(proposal.start))?;
    let strategy = federation.document().training.strategy.to_string();
    same("strategy", &strategy, &proposal.strategy)?;
    require(proposal.view.0 < VIEWS_MAX, "view", "less than 1000000", proposal.view)?;
    let name = |member: &MemberId| tip.roster.name_of(member);
    let turns = tip.turns();
    same("aggregator", name(&turns.leader(proposal.view)), name(&proposal.aggregator))?;
    let failed = proposal.failed_views.len();
    require(failed == proposal.view.0 as usize, "failed_views", proposal.view, failed)?;
    for (index, failed) in proposal.failed_views.iter().enumerate() {
        let field = format!("failed_views[{index}]");
        same(&field, index, failed.view.0 as usize)?;
        same(&field, name(&turns.leader(failed.view)), name(&failed.aggregator))?;
    }
    check_roster(&tip.roster, proposal)?;
    for absent in &proposal.absent {
        attendance::check(&tip.roster, tip.round, absent)?;
    }
    evidence::check(tip, &proposal.evidence)?;
    let refuted = proposal.refutation.as_ref();
    refuted.map_or(Ok(()), |refuted| refutation::check(tip, proposal.view, refuted))?;
    proposal.decision.as_ref().map_or(Ok(()), |decision| decision.check(tip))?;
    let read = |member: &MemberId, envelope: &[u8], field: &str| match known(member, envelope) {
        Some(update) => Ok(update),
        None => open_update(&tip.roster, member, envelope, field),
    };
    let mut counted = Counted::default();
    for (index, contribution) in proposal.included.iter().enumerate() {
        let field = format!("included[{index}]");
        let update = read(&contribution.member, &contribution.envelope, &field)?;
        check_update(federation, tip, &update).map_err(|flaw| flaw.within(&field))?;
        counted.included.push(update);
    }
    for (member, envelope) in proposal.late() {
        let field = format!("absent of {}", name(member));
        let update = read(member, envelope, &field)?;
        check_late(federation, tip, member, &update).map_err(|flaw| flaw.within(&field))?;
        counted.late.push(update);
    }
    Ok(counted)
}

/// Whether an update belongs to the next round and is plausible.
pub fn check_update(federation: &Federation, tip: &Tip, update: &Update) -> Result<(), Flaw> {
    same("round", tip.round, update.round)?;
    same("start", tip.adapter.digest, update.start)?;
    check_claims(federation, update)
}

/// Whether an update of a closed round may count in the next one and is plausible.
pub fn check_late(
    federation: &Federation,
    tip: &Tip,
    member: &MemberId,
    update: &Update,
) -> Result<(), Flaw> {
    tip.lateness.check(member, update)?;
    check_claims(federation, update)
}

fn check_claims(federation: &Federation, update: &Update) -> Result<(), Flaw> {
    same("codec", federation.document().training.compression, update.codec)?;
    let size = update.delta.size_bytes;
    require((1..=DELTA_BYTES_MAX).contains(&size), "delta.size_bytes", "1 to 1 GiB", size)?;
    // Steps weigh an update: nobody may claim more than all agreed to take.
    let most = u64::from(federation.document().training.local_steps);
    require((1..=most).contains(&update.steps), "steps", format!("1 to {most}"), update.steps)?;
    let scores = update.scores;
    let told = [Some(scores.loss), scores.vqa_accuracy, scores.drawing_accuracy];
    require(
        told.iter().flatten().all(|s| s.is_finite()),
        "scores",
        "finite numbers",
        "NaN or infinite",
    )
}

fn check_record(federation: &Federation, tip: &Tip, bytes: &[u8]) -> Result<RoundRecord, Flaw> {
    let record: RoundRecord = codec::decode(bytes, RECORD_BYTES_MAX)
        .map_err(|error| flaw("record", "canonical CBOR", error))?;
    check_proposal(federation, tip, &record.proposal, &|_, _| None)?;
    check_certificate(&tip.roster, &record.proposal, &record.certificate)?;
    Ok(record)
}

/// Whether a certificate holds a quorum of distinct members' precommits for `proposal`.
pub fn check_certificate(
    roster: &Roster,
    proposal: &Proposal,
    certificate: &Certificate,
) -> Result<(), Flaw> {
    let (view, field) = (certificate.view, "certificate.view");
    require(view >= proposal.view, field, format!("at least {}", proposal.view), view)?;
    let (round, value) = (proposal.round, Some(proposal.digest()));
    let vote = Vote { round, view, step: Step::Precommit, value };
    check_quorum(roster, "certificate", vote, &certificate.signatures)
}

/// Whether a polka holds a quorum of distinct members' prevotes.
pub fn check_polka(roster: &Roster, polka: &Polka) -> Result<(), Flaw> {
    let (round, view, value) = (polka.round, polka.view, Some(polka.value));
    let vote = Vote { round, view, step: Step::Prevote, value };
    check_quorum(roster, "polka", vote, &polka.signatures)
}

/// Whether so many distinct members signed `vote` that it is a quorum's.
fn check_quorum(
    roster: &Roster,
    name: &str,
    vote: Vote,
    signatures: &[CommitSignature],
) -> Result<(), Flaw> {
    check_signatures(roster, name, &Message::Vote(vote), signatures)?;
    let (votes, quorum) = (signatures.len(), roster.quorum());
    require(votes >= quorum, name, format!("{quorum} votes"), format!("{votes} votes"))
}

/// Whether distinct members, in roster order, signed `message`.
pub(crate) fn check_signatures(
    roster: &Roster,
    name: &str,
    message: &Message,
    signatures: &[CommitSignature],
) -> Result<(), Flaw> {
    let mut last = None;
    for (index, CommitSignature { member, signature }) in signatures.iter().enumerate() {
        let field = format!("{name}.signatures[{index}]");
        let place = roster.place_of(member);
        let ordered = place.is_some() && place > last;
        require(ordered, &field, "members in roster order", member.short())?;
        last = place;
        let valid = envelope::is_signed(member, roster.federation(), message, signature);
        let expected = format!("a signature of {}", roster.name_of(member));
        require(valid, &field, expected, "not")?;
    }
    Ok(())
}

/// Included and absent together are the roster: everybody once, each list in roster order.
fn check_roster(roster: &Roster, proposal: &Proposal) -> Result<(), Flaw> {
    let lists = [
        ("included", proposal.included.iter().map(|c| c.member).collect::<Vec<_>>()),
        ("absent", proposal.absent.iter().map(|a| a.member).collect()),
    ];
    let mut seen = Roll(0);
    for (list, members) in &lists {
        let mut last = None;
        for (index, member) in members.iter().enumerate() {
            let place = roster.place_of(member);
            let field = format!("{list}[{index}]");
            let ordered = place.is_some_and(|p| !seen.contains(p)) && place > last;
            require(ordered, &field, "each member once, in roster order", member.short())?;
            seen.insert(place.expect("checked on the line above"));
            last = place;
        }
    }
    let (found, size) = (seen.count(), roster.size());
    require(found == size, "included + absent", format!("{size} members"), found)?;
    require(!proposal.included.is_empty(), "included", "at least one update", 0)?;
    for (index, absent) in proposal.absent.iter().enumerate() {
        if let Absence::Refused { because } = &absent.why {
            let field = format!("absent[{index}].because");
            let (length, expected) = (because.len(), format!("at most {REASON_BYTES_MAX} bytes"));
            require(length <= REASON_BYTES_MAX, &field, expected, length)?;
        }
    }
    Ok(())
}

fn open_update(
    roster: &Roster,
    member: &MemberId,
    bytes: &[u8],
    field: &str,
) -> Result<Update, Flaw> {
    let expected = format!("an update signed by {}", roster.name_of(member));
    let opened = envelope::open(bytes, roster);
    let verified = opened.map_err(|refusal| flaw(field, &expected, refusal))?;
    require(verified.signer == *member, field, &expected, verified.signer.short())?;
    match verified.message {
        Message::Update(update) => Ok(update),
        other => Err(flaw(field, expected, envelope::kind_name(other.kind()))),
    }
}

pub(crate) fn same<T: PartialEq + std::fmt::Display>(
    field: &str,
    expected: T,
    found: T,
) -> Result<(), Flaw> {
    require(expected == found, field, &expected, &found)
}

pub(crate) fn require(
    holds: bool,
    field: &str,
    expected: impl std::fmt::Display,
    found: impl std::fmt::Display,
) -> Result<(), Flaw> {
    if holds { Ok(()) } else { Err(flaw(field, expected, found)) }
}

pub(crate) fn flaw(
    field: &str,
    expected: impl std::fmt::Display,
    found: impl std::fmt::Display,
) -> Flaw {
    Flaw { field: field.to_owned(), expected: expected.to_string(), found: found.to_string() }
}

fn shown(blob: BlobRef) -> String {
    format!("{} ({} bytes)", blob.digest, blob.size_bytes)
}

/// Bytes a delta may have; far above any adapter, far below any disk.
const DELTA_BYTES_MAX: u64 = 1 << 30;

/// Views a round may take; a bound on `failed_views`, which the envelope's size bounds further.
const VIEWS_MAX: u32 = 1_000_000;

/// Bytes of a refusal's reason in a record.
pub const REASON_BYTES_MAX: usize = 200;
