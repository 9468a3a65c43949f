//! False proofs against others: of what they really sent, or made up in their name.

use rand::RngExt;
use witan_protocol::digest::Digest;
use witan_protocol::wire::envelope::{self};
use witan_protocol::wire::{
    AGGREGATE, Evidence, MemberSignature, Message, Objection, Refutation, Verified, Vote,
};

use super::{Liar, Workshop};

/// A proof that another member signed twice, made of what this liar heard of it; false unless that
/// member lies as well.
pub(super) fn accusation(liar: &Liar, shop: &mut Workshop<'_>) -> Option<Evidence> {
    let me = shop.identity.member();
    let claims: Vec<_> = liar
        .heard
        .iter()
        .filter_map(|envelope| envelope.message().ok())
        .filter(|said| said.signer != me && is_signed_once(&said.message))
        .collect();
    if claims.is_empty() {
        return None;
    }
    let said = claims[shop.random.random_range(0..claims.len())];
    let member = said.signer;
    let one = claim(said);
    let other = match shop.random.random_range(0..4) {
        // Two messages it really sent, which do not conflict.
        0 | 1 => {
            let others = claims.iter().filter(|c| c.signer == member && c.message != said.message);
            let others: Vec<_> = others.collect();
            (!others.is_empty())
                .then(|| claim(others[shop.random.random_range(0..others.len())]))?
        }
        // Something it never sent, under this liar's signature: in the other's name or its own.
        2 => {
            let message = altered(&said.message);
            let signature = envelope::sign(shop.identity, shop.roster.federation(), &message);
            let name = if shop.random.random_bool(0.5) { member } else { me };
            envelope::reseal_claim(name, &message, &signature)
        }
        // One thing, twice.
        _ => one.clone(),
    };
    let round = said.message.round();
    let (first, second) = if one < other { (one, other) } else { (other, one) };
    Some(Evidence { member, round, first, second })
}

/// What is wrong with the newest proposal received: nothing. Every liar finds the same in it, as if
/// agreed.
pub(super) fn objection(liar: &Liar) -> Option<Objection> {
    liar.heard.iter().rev().find_map(|envelope| {
        let said = envelope.message().ok()?;
        let Message::Proposal(proposed) = &said.message else { return None };
        let proposal = &proposed.proposal;
        Some(Objection {
            round: proposal.round,
            view: proposed.view,
            against: said.signer,
            value: proposal.digest(),
            field: AGGREGATE.to_owned(),
            expected: Digest::of(b"another aggregate").to_string(),
            found: proposal.result.digest.to_string(),
        })
    })
}

/// The newest objection this liar heard to another's aggregate, with every true signature under it
/// that it has and its own; where that is too few, sometimes its own again in others' names.
pub(super) fn refutation(liar: &Liar, shop: &mut Workshop<'_>) -> Option<Refutation> {
    let me = shop.identity.member();
    let heard = || {
        liar.heard.iter().rev().filter_map(|envelope| match envelope.message().ok()? {
            Verified { signer, message: Message::Objection(objection), signature } => {
                Some((*signer, objection, *signature))
            }
            _ => None,
        })
    };
    let (_, objection, _) = heard().find(|(_, objection, _)| objection.against != me)?;
    let message = Message::Objection(objection.clone());
    let own = envelope::sign(shop.identity, shop.roster.federation(), &message);
    let signatures = shop.roster.members().iter().map(|member| {
        let member = member.id();
        let true_one = heard().find(|(signer, other, _)| *signer == member && *other == objection);
        MemberSignature { member, signature: true_one.map_or(own, |(_, _, signature)| signature) }
    });
    let (forged, mut sound): (Vec<_>, Vec<_>) =
        signatures.partition(|commit| commit.member != me && commit.signature == own);
    if shop.random.random_bool(0.5) {
        sound.extend(forged);
    }
    sound.truncate(shop.roster.honest());
    sound.sort_by_key(|commit| shop.roster.place_of(&commit.member));
    Some(Refutation { objection: objection.clone(), signatures: sound })
}

fn is_signed_once(message: &Message) -> bool {
    matches!(message, Message::Vote(_) | Message::Update(_) | Message::Proposal(_))
}

fn claim(said: &Verified<Message>) -> Vec<u8> {
    envelope::reseal_claim(said.signer, &said.message, &said.signature)
}

fn altered(message: &Message) -> Message {
    let mut message = message.clone();
    match &mut message {
        Message::Vote(Vote { value, .. }) => *value = Some(Digest([5; 32])),
        Message::Update(update) => update.steps = 1,
        Message::Proposal(proposed) => proposed.proposal.strategy.clear(),
        _ => {}
    }
    message
}
