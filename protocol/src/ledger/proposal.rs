//! Whether a proposal, and each update it counts, follows from the records before it.

use super::refutation::check_refutation;
use super::signatures::check_order;
use super::tip::Tip;
use super::{attendance, evidence};
use crate::digest::BlobRef;
use crate::federation::{Federation, Roster};
use crate::flaw::{Flaw, require, same};
use crate::member::MemberId;
use crate::wire::{Absence, MemberSet, Message, Proposal, REASON_BYTES_MAX, Update, envelope};

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
    let leaders = tip.leaders();
    same("aggregator", name(&leaders.of(proposal.view)), name(&proposal.aggregator))?;
    let failed = proposal.failed_views.len();
    require(failed == proposal.view.0 as usize, "failed_views", proposal.view, failed)?;
    for (index, failed) in proposal.failed_views.iter().enumerate() {
        let field = format!("failed_views[{index}]");
        same(&field, index, failed.view.0 as usize)?;
        same(&field, name(&leaders.of(failed.view)), name(&failed.aggregator))?;
    }
    check_roster(&tip.roster, proposal)?;
    for absent in &proposal.absent {
        attendance::check(&tip.roster, tip.round, absent)?;
    }
    evidence::check(tip, &proposal.evidence)?;
    let refuted = proposal.refutation.as_ref();
    refuted.map_or(Ok(()), |refuted| check_refutation(tip, proposal.view, refuted))?;
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
    // Steps are the weight of an update: nobody may claim more than all agreed on.
    let most = u64::from(federation.document().training.local_steps);
    require((1..=most).contains(&update.steps), "steps", format!("1 to {most}"), update.steps)?;
    let scores = update.scores;
    let numbers = [Some(scores.loss), scores.vqa_accuracy, scores.drawing_accuracy];
    require(
        numbers.iter().flatten().all(|s| s.is_finite()),
        "scores",
        "finite numbers",
        "NaN or infinite",
    )
}

/// Included and absent together are the roster: everybody once, each list in roster order.
fn check_roster(roster: &Roster, proposal: &Proposal) -> Result<(), Flaw> {
    let included = || proposal.included.iter().map(|part| part.member);
    let absent = || proposal.absent.iter().map(|absent| absent.member);
    check_order(roster, "included", included())?;
    check_order(roster, "absent", absent())?;
    let named = proposal.included.len() + proposal.absent.len();
    let places: MemberSet =
        included().chain(absent()).filter_map(|it| roster.place_of(&it)).collect();
    let complete = named == roster.size() && places.count() == named;
    let expected = format!("{} members, each once", roster.size());
    require(complete, "included + absent", expected, named)?;
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
    let verified = opened.map_err(|refusal| Flaw::new(field, &expected, refusal))?;
    require(verified.signer == *member, field, &expected, verified.signer.short())?;
    match verified.message {
        Message::Update(update) => Ok(update),
        other => Err(Flaw::new(field, expected, other.kind().name())),
    }
}

fn shown(blob: BlobRef) -> String {
    format!("{} ({} bytes)", blob.digest, blob.size_bytes)
}

/// Bytes a delta may have; far above any adapter, far below any disk.
const DELTA_BYTES_MAX: u64 = 1 << 30;

/// Views a round may take; a bound on `failed_views`, which the envelope's size bounds further.
const VIEWS_MAX: u32 = 1_000_000;
