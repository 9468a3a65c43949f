//! A stand-in for the model. A delta is a digest and nothing else; the aggregate is a digest of
//! start and inputs, so anyone can recompute it and any change of the inputs changes it.

use witan_protocol::Roster;
use witan_protocol::digest::{BlobRef, Digest};
use witan_protocol::io::{Aggregate, AggregateInput};
use witan_protocol::member::{MemberId, Round};
use witan_protocol::wire::{Message, Proposal, envelope};

/// The adapter every run starts from.
pub fn start() -> BlobRef {
    BlobRef::of(b"start")
}

/// What `member` trains from `start`. Another `attempt` gives another delta, as real training on
/// real hardware might: a member that trains twice must not be able to publish twice unnoticed.
pub fn delta(start: BlobRef, member: MemberId, attempt: u64) -> BlobRef {
    BlobRef::of(&[&start.digest.0[..], &member.0, &attempt.to_be_bytes()].concat())
}

/// A delta that no aggregation can use: NaN, another shape.
pub fn unusable(delta: BlobRef) -> BlobRef {
    let mut digest = delta.digest.0;
    digest[..UNUSABLE.len()].copy_from_slice(UNUSABLE);
    BlobRef { digest: Digest(digest), ..delta }
}

/// Whether an aggregation would refuse this delta.
pub fn is_unusable(delta: &BlobRef) -> bool {
    delta.digest.0.starts_with(UNUSABLE)
}

/// The aggregate, or whose deltas are unusable.
pub fn aggregate(
    start: BlobRef,
    inputs: &[AggregateInput],
) -> Result<BlobRef, Vec<(MemberId, String)>> {
    let bad = inputs.iter().filter(|input| is_unusable(&input.delta));
    let bad: Vec<_> = bad.map(|input| (input.member, "not finite".to_owned())).collect();
    if !bad.is_empty() {
        return Err(bad);
    }
    let mut bytes = start.digest.0.to_vec();
    for input in inputs {
        bytes.extend_from_slice(&input.member.0);
        bytes.extend_from_slice(&input.delta.digest.0);
        bytes.extend_from_slice(&input.weight.to_be_bytes());
    }
    Ok(BlobRef::of(&bytes))
}

/// An aggregation's result, of a model without layers.
pub fn without_layers(result: BlobRef) -> Aggregate {
    Aggregate { result, naive_error: Vec::new() }
}

/// The honest result of a proposal, if its inputs can be read and used. Weights are worked out here
/// on their own; updates may be up to `late_rounds` late.
pub fn result_of(roster: &Roster, late_rounds: u64, proposal: &Proposal) -> Option<BlobRef> {
    let included = proposal.included.iter().map(|part| (part.member, part.envelope.as_slice()));
    let late = proposal.late().map(|(member, envelope)| (*member, envelope));
    let ages = (late_rounds, proposal.round);
    let read = |(member, envelope)| input_of(roster, ages, member, envelope);
    let mut inputs = included.chain(late).map(read).collect::<Option<Vec<_>>>()?;
    inputs.sort_by_key(|input| roster.place_of(&input.member));
    aggregate(proposal.start, &inputs).ok()
}

fn input_of(
    roster: &Roster,
    (late_rounds, round): (u64, Round),
    member: MemberId,
    envelope: &[u8],
) -> Option<AggregateInput> {
    let verified = envelope::open(envelope, roster).ok()?;
    let Message::Update(update) = verified.message else {
        return None;
    };
    let late_by = round.0.checked_sub(update.round.0)?;
    let share = WHOLE_SHARES[late_rounds as usize] / (1 + late_by);
    let factor = u64::from(roster.member(&member)?.weight);
    let weight = update.steps.saturating_mul(factor).saturating_mul(share);
    Some(AggregateInput { member, delta: update.delta, weight })
}

/// What a fresh update counts, by how many rounds others may be late.
const WHOLE_SHARES: [u64; 5] = [1, 2, 6, 12, 60];

const UNUSABLE: &[u8] = b"not finite";
