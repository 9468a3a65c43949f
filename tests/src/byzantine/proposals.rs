//! Lies of an elected aggregator.

use rand::RngExt;
use witan_protocol::digest::{BlobRef, Digest};
use witan_protocol::wire::{Absence, Absent, Message, Proposal, ProposalMessage};

use super::accusations::{accusation, refutation};
use super::{Liar, Mail, Workshop, copies};
use crate::lies::Lie;
use crate::model;
use witan_protocol::wire::envelope::Opened;

/// What a liar makes of its proposal.
pub(super) fn rewrite(
    liar: &Liar,
    shop: &mut Workshop<'_>,
    proposed: &ProposalMessage,
    envelope: &Opened,
    to: &[usize],
) -> Mail {
    let lies: Vec<_> = PROPOSAL_LIES.into_iter().filter(|lie| liar.tells(*lie)).collect();
    if lies.is_empty() {
        return copies(envelope.bytes(), to);
    }
    let lie = lies[shop.random.random_range(0..lies.len())];
    let mut proposal = proposed.proposal.clone();
    if !tell(lie, liar, shop, &mut proposal) {
        return copies(envelope.bytes(), to);
    }
    shop.saw(lie);
    let message = Message::Proposal(ProposalMessage { proposal, ..proposed.clone() });
    if lie == Lie::TwoProposals {
        return shop.split(envelope.bytes(), &message, to);
    }
    copies(&shop.seal(&message), to)
}

fn tell(lie: Lie, liar: &Liar, shop: &mut Workshop<'_>, proposal: &mut Proposal) -> bool {
    match lie {
        Lie::WrongAggregate => proposal.result = BlobRef::of(&proposal.result.digest.0),
        Lie::WrongField => wrong_field(shop, proposal),
        Lie::ForgetsMembers => {
            if proposal.included.len() < 2 {
                return false;
            }
            proposal.included.pop();
            return recompute(shop, proposal);
        }
        Lie::StolenName => return steal_name(shop, proposal),
        Lie::CountsAgain => return count_again(liar, shop, proposal),
        Lie::FalseEvidence => match accusation(liar, shop) {
            Some(evidence) => proposal.evidence = vec![evidence],
            None => return false,
        },
        Lie::FalseRefutation => match refutation(liar, shop) {
            Some(refutation) => proposal.refutation = Some(Box::new(refutation)),
            None => return false,
        },
        _ => return leave_out(shop, proposal),
    }
    true
}

/// Lists one or more members as absent whose updates it has; all else is sound.
fn leave_out(shop: &mut Workshop<'_>, proposal: &mut Proposal) -> bool {
    let spare = proposal.included.len().saturating_sub(shop.roster.quorum());
    if spare == 0 {
        return false;
    }
    for _ in 0..shop.random.random_range(1..=spare) {
        let index = shop.random.random_range(0..proposal.included.len());
        let member = proposal.included.remove(index).member;
        let why = if shop.random.random_bool(0.5) {
            Absence::NoUpdate
        } else {
            Absence::Refused { because: "not finite".to_owned() }
        };
        proposal.absent.push(Absent { member, why, heard: None });
    }
    proposal.absent.sort_by_key(|absent| shop.roster.place_of(&absent.member));
    recompute(shop, proposal)
}

/// A member's update of an earlier round, or this round's under another name for it, stands in for
/// the one it has: as if that had not arrived.
fn count_again(liar: &Liar, shop: &mut Workshop<'_>, proposal: &mut Proposal) -> bool {
    let spare = proposal.included.len() > shop.roster.quorum();
    let mut old: Vec<_> = liar.heard_updates(proposal.round).collect();
    old.retain(|(member, _)| {
        let is_included = proposal.included.iter().any(|part| part.member == *member);
        if is_included { spare } else { proposal.absent.iter().any(|a| a.member == *member) }
    });
    if old.is_empty() {
        return false;
    }
    let (member, envelope) = old.swap_remove(shop.random.random_range(0..old.len()));
    proposal.included.retain(|part| part.member != member);
    proposal.absent.retain(|absent| absent.member != member);
    proposal.absent.push(Absent { member, why: Absence::Late { envelope }, heard: None });
    proposal.absent.sort_by_key(|absent| shop.roster.place_of(&absent.member));
    recompute(shop, proposal)
}

fn steal_name(shop: &mut Workshop<'_>, proposal: &mut Proposal) -> bool {
    let me = shop.identity.member();
    let Some(own) = proposal.included.iter().find(|c| c.member == me) else {
        return false;
    };
    let mut envelope = own.envelope.clone();
    let others: Vec<_> = (0..proposal.included.len())
        .filter(|index| proposal.included[*index].member != me)
        .collect();
    if others.is_empty() {
        return false;
    }
    let index = others[shop.random.random_range(0..others.len())];
    if shop.random.random_bool(0.5) {
        // The same words, said to be the other member's.
        let key = proposal.included[index].member.0;
        if let Some(at) = envelope.windows(32).position(|window| window == me.0) {
            envelope[at..at + 32].copy_from_slice(&key);
        }
    }
    proposal.included[index].envelope = envelope;
    recompute(shop, proposal);
    true
}

fn wrong_field(shop: &mut Workshop<'_>, proposal: &mut Proposal) {
    match shop.random.random_range(0..7) {
        0 => proposal.previous = Digest([1; 32]),
        1 => proposal.start = BlobRef::of(b"another adapter"),
        2 => proposal.view.0 += 1,
        3 => proposal.aggregator = shop.roster.members()[0].id(),
        4 => proposal.failed_views.clear(),
        5 => proposal.strategy = "median".to_owned(),
        _ => proposal.round.0 += 1,
    }
}

/// Makes the result that of the inputs again, as far as they can be read.
fn recompute(shop: &mut Workshop<'_>, proposal: &mut Proposal) -> bool {
    let result = model::result_of(shop.roster, shop.late_rounds, proposal);
    if let Some(result) = result {
        proposal.result = result;
        shop.blobs.push(result);
    }
    result.is_some()
}

const PROPOSAL_LIES: [Lie; 9] = [
    Lie::TwoProposals,
    Lie::WrongAggregate,
    Lie::WrongField,
    Lie::ForgetsMembers,
    Lie::LeavesOut,
    Lie::CountsAgain,
    Lie::StolenName,
    Lie::FalseEvidence,
    Lie::FalseRefutation,
];
