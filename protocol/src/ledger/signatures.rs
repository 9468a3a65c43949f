//! Whether distinct members signed one thing, and whether they are a quorum.

use crate::federation::Roster;
use crate::flaw::{Flaw, require};
use crate::member::MemberId;
use crate::wire::{
    Certificate, MemberSignature, Message, Polka, Proposal, Vote, VoteStep, envelope,
};

/// Whether a certificate holds a quorum of distinct members' precommits for `proposal`.
pub fn check_certificate(
    roster: &Roster,
    proposal: &Proposal,
    certificate: &Certificate,
) -> Result<(), Flaw> {
    let (view, field) = (certificate.view, "certificate.view");
    require(view >= proposal.view, field, format!("at least {}", proposal.view), view)?;
    let (round, value) = (proposal.round, Some(proposal.digest()));
    let vote = Vote { round, view, step: VoteStep::Precommit, value };
    check_quorum(roster, "certificate", vote, &certificate.signatures)
}

/// Whether a polka holds a quorum of distinct members' prevotes.
pub(crate) fn check_polka(roster: &Roster, polka: &Polka) -> Result<(), Flaw> {
    let (round, view, value) = (polka.round, polka.view, Some(polka.value));
    let vote = Vote { round, view, step: VoteStep::Prevote, value };
    check_quorum(roster, "polka", vote, &polka.signatures)
}

/// Whether so many distinct members signed `vote` that it is a quorum's.
fn check_quorum(
    roster: &Roster,
    name: &str,
    vote: Vote,
    signatures: &[MemberSignature],
) -> Result<(), Flaw> {
    check_signatures(roster, &format!("{name}.signatures"), &Message::Vote(vote), signatures)?;
    let (votes, quorum) = (signatures.len(), roster.quorum());
    require(votes >= quorum, name, format!("{quorum} votes"), format!("{votes} votes"))
}

/// Whether the members of `list` are distinct, in roster order, and each signed `message`.
pub(super) fn check_signatures(
    roster: &Roster,
    list: &str,
    message: &Message,
    signatures: &[MemberSignature],
) -> Result<(), Flaw> {
    check_order(roster, list, signatures.iter().map(|signed| signed.member))?;
    for (index, MemberSignature { member, signature }) in signatures.iter().enumerate() {
        let valid = envelope::is_signed(member, roster.federation(), message, signature);
        let expected = format!("a signature of {}", roster.name_of(member));
        require(valid, &format!("{list}[{index}]"), expected, "not")?;
    }
    Ok(())
}

/// Whether `list` names distinct members of `roster`, in its order.
pub(super) fn check_order(
    roster: &Roster,
    list: &str,
    members: impl Iterator<Item = MemberId>,
) -> Result<(), Flaw> {
    let mut last = None;
    for (index, member) in members.enumerate() {
        let place = roster.place_of(&member);
        let ordered = place.is_some() && place > last;
        let expected = "members in roster order, each once";
        require(ordered, &format!("{list}[{index}]"), expected, member.short())?;
        last = place;
    }
    Ok(())
}
