//! Messages nobody asked for: garbage, replays, forgeries, votes and proposals out of turn.

use rand::RngExt;
use witan_protocol::codec;
use witan_protocol::digest::Digest;
use witan_protocol::member::{Round, View};
use witan_protocol::wire::envelope::{self, RECORD_BYTES_MAX};
use witan_protocol::wire::{
    Certificate, MemberSignature, Message, ProposalMessage, RecordCopy, RoundRecord, Vote, VoteStep,
};

use super::accusations::{accusation, objection};
use super::{Liar, Mail, Workshop};
use crate::lies::Lie;

/// What a liar sends besides, each time its participant sends something to these members.
pub(super) fn strays(liar: &Liar, shop: &mut Workshop<'_>, to: &[usize]) -> Mail {
    let mut mail = Vec::new();
    for lie in STRAYS {
        if !liar.tells(lie) || !shop.random.random_bool(0.3) {
            continue;
        }
        let row = if lie == Lie::OutOfTurn && shop.random.random_bool(0.2) { ROW } else { 1 };
        let said: Vec<_> = (0..row).filter_map(|_| stray(lie, liar, shop)).collect();
        if said.is_empty() {
            continue;
        }
        shop.saw(lie);
        for to in to.iter().filter(|_| shop.random.random_bool(0.5)) {
            mail.extend(said.iter().map(|bytes| (*to, bytes.clone())));
        }
    }
    mail
}

fn stray(lie: Lie, liar: &Liar, shop: &mut Workshop<'_>) -> Option<Vec<u8>> {
    match lie {
        Lie::Garbage => Some(garbage(liar, shop)),
        Lie::Replay => liar.any(shop).map(|envelope| envelope.bytes().to_vec()),
        Lie::Forgery => forgery(liar, shop),
        Lie::OutOfTurn => out_of_turn(liar, shop),
        Lie::FalseEvidence => {
            accusation(liar, shop).map(|evidence| shop.seal(&Message::Evidence(evidence)))
        }
        Lie::FalseRefutation => {
            objection(liar).map(|objection| shop.seal(&Message::Objection(objection)))
        }
        _ => forged_record(liar, shop),
    }
}

fn garbage(liar: &Liar, shop: &mut Workshop<'_>) -> Vec<u8> {
    let known = liar.any(shop).map_or_else(Vec::new, |envelope| envelope.bytes().to_vec());
    let mut bytes = known;
    match shop.random.random_range(0..4) {
        0 => bytes = vec![0xd2; RECORD_BYTES_MAX + 1],
        1 => bytes.truncate(bytes.len() / 2),
        2 => bytes.push(0),
        _ => {
            if !bytes.is_empty() {
                let at = shop.random.random_range(0..bytes.len());
                bytes[at] ^= 1 << shop.random.random_range(0..8);
            }
        }
    }
    bytes
}

/// Another member's kind of message in its name, under a signature that is not its own.
fn forgery(liar: &Liar, shop: &mut Workshop<'_>) -> Option<Vec<u8>> {
    let heard = liar.any(shop)?;
    let said = heard.message().ok()?;
    let message = match &said.message {
        Message::Vote(vote) => {
            let value = if vote.value.is_some() { None } else { Some(Digest([3; 32])) };
            Message::Vote(Vote { value, ..*vote })
        }
        Message::Update(update) => {
            let mut update = update.clone();
            update.steps += 1;
            Message::Update(update)
        }
        other => other.clone(),
    };
    let victim = shop.random.random_range(0..shop.roster.size());
    let victim = shop.roster.members()[victim].id();
    let own = envelope::sign(shop.identity, shop.roster.federation(), &message);
    let signature = if shop.random.random_bool(0.5) { own } else { said.signature };
    (victim != said.signer || signature != said.signature)
        .then(|| envelope::reseal(victim, &message, &signature))
}

fn out_of_turn(liar: &Liar, shop: &mut Workshop<'_>) -> Option<Vec<u8>> {
    let heard = liar.any(shop)?;
    let message = match &heard.message().ok()?.message {
        Message::Vote(vote) => {
            let far = shop.random.random_range(11..1_000_000);
            let ahead = [0, 1, 5, 9, far, far, far, u32::MAX][shop.random.random_range(0..8)];
            let view = View(vote.view.0.saturating_add(ahead));
            let round = Round(vote.round.0 + shop.random.random_range(0..2));
            let step = if vote.step == VoteStep::Prevote {
                VoteStep::Precommit
            } else {
                VoteStep::Prevote
            };
            Message::Vote(Vote { round, view, step, value: vote.value })
        }
        Message::Proposal(proposed) => {
            let view = View(proposed.view.0 + shop.random.random_range(0..12));
            let valid = (view > proposed.view).then_some(proposed.view);
            Message::Proposal(ProposalMessage { view, valid_view: valid, ..proposed.clone() })
        }
        _ => return None,
    };
    Some(shop.seal(&message))
}

/// A record of a proposal it received, perhaps altered, with an invalid certificate.
fn forged_record(liar: &Liar, shop: &mut Workshop<'_>) -> Option<Vec<u8>> {
    let proposals = liar.heard.iter().rev().filter_map(|l| match &l.message().ok()?.message {
        Message::Proposal(proposed) => Some(proposed),
        _ => None,
    });
    let proposed = proposals.take(1).next()?;
    let mut proposal = proposed.proposal.clone();
    if shop.random.random_bool(0.5) {
        proposal.result = witan_protocol::digest::BlobRef::of(b"mine");
    }
    let value = Some(proposal.digest());
    let (round, view) = (proposal.round, proposed.view);
    let vote = Message::Vote(Vote { round, view, step: VoteStep::Precommit, value });
    let signature = envelope::sign(shop.identity, shop.roster.federation(), &vote);
    let members = shop.roster.members().iter().map(|member| member.id());
    let me = shop.identity.member();
    let all = members.map(|member| MemberSignature { member, signature });
    let signatures = match shop.random.random_range(0..4) {
        0 => all.collect(),
        1 => all.filter(|commit| commit.member == me).collect(),
        2 => vec![MemberSignature { member: me, signature }; shop.roster.quorum()],
        _ => Vec::new(),
    };
    let record = RoundRecord { proposal, certificate: Certificate { view, signatures } };
    let record = codec::encode(&record);
    Some(shop.seal(&Message::Record(RecordCopy { round, until: round, record })))
}

/// Messages out of turn in a row, now and then: as many as would fill what is not bounded.
const ROW: usize = 32;

const STRAYS: [Lie; 7] = [
    Lie::Garbage,
    Lie::Replay,
    Lie::Forgery,
    Lie::OutOfTurn,
    Lie::ForgedRecord,
    Lie::FalseEvidence,
    Lie::FalseRefutation,
];
