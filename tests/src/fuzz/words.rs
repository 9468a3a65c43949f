//! The messages a script has members send: plausible enough to be accepted now and then, wrong
//! often enough.

use witan_protocol::Identity;
use witan_protocol::codec;
use witan_protocol::digest::{BlobRef, Digest};
use witan_protocol::federation::{Compression, Member};
use witan_protocol::ledger::Tip;
use witan_protocol::member::{MemberId, Round, View};
use witan_protocol::wire::{
    Absence, Absent, Ballot, Certificate, Change, Contribution, Evidence, Heartbeat, Holdings,
    MemberSet, MemberSignature, Message, Objection, Petition, Polka, Proposal, ProposalHeld,
    ProposalMessage, RecordCopy, RoundRecord, Scores, Update, Vote, VoteStep, VotesHeld, envelope,
};

use super::Script;
use crate::{model, world};

/// What was said so far, to be built upon.
#[derive(Default)]
pub(super) struct Words {
    /// Envelopes, of anyone.
    pub heard: Vec<Vec<u8>>,
    updates: Vec<(MemberId, Round, Vec<u8>)>,
    proposals: Vec<Proposal>,
}

/// Where the listener stands.
pub(super) struct Moment<'a> {
    /// Its ledger.
    pub tip: &'a Tip,
    /// The view it is in.
    pub view: View,
    /// For how many rounds a late update may count.
    pub late_rounds: u64,
}

impl Words {
    /// Keeps an envelope that the listener said or was told.
    pub(super) fn keep(&mut self, tip: &Tip, bytes: &[u8]) {
        if self.heard.len() >= KEPT_MAX {
            return;
        }
        self.heard.push(bytes.to_vec());
        let Ok(said) = envelope::open(bytes, &tip.roster) else {
            return;
        };
        match said.message {
            Message::Update(update) => {
                self.updates.push((said.signer, update.round, bytes.to_vec()));
            }
            Message::Proposal(proposal_message) => self.proposals.push(proposal_message.proposal),
            _ => {}
        }
    }

    /// Something that a member other than the listener, which has place 0, signs.
    pub(super) fn say(&mut self, script: &mut Script<'_>, moment: &Moment<'_>) -> Vec<u8> {
        let mut signer = world::identity(1 + script.below(MEMBERS - 1));
        let round = self.round(script, moment);
        let message = match script.below(16) {
            0..=2 => Message::Update(update(script, moment, round, &signer)),
            3..=5 => {
                let proposal_message = self.proposal_message(script, moment);
                let elected = moment.tip.leaders().of(proposal_message.view);
                let places = (1..MEMBERS).map(world::identity);
                let elected = places.into_iter().find(|identity| identity.member() == elected);
                signer = elected.filter(|_| !script.once_in(8)).unwrap_or(signer);
                Message::Proposal(proposal_message)
            }
            6..=9 => Message::Vote(self.vote(script, moment, round)),
            10 => Message::Heartbeat(progress(script, round)),
            11 => Message::Holdings(self.holdings(script, moment, round)),
            12 => self.polka(script, moment),
            13 => self.certified(script, moment),
            14 => self.evidence(script, round, &signer),
            _ if script.once_in(2) => self.objection(script, moment, round),
            _ => Message::Ballot(ballot(script, moment, &signer)),
        };
        envelope::seal(&signer, moment.tip.roster.federation(), &message)
    }

    fn round(&self, script: &mut Script<'_>, moment: &Moment<'_>) -> Round {
        let here = moment.tip.round.0;
        let near =
            [here, here, here, here, here + 1, here.saturating_sub(1), here + 2, 0, u64::MAX];
        Round(script.one_of(&near))
    }

    fn value(&self, script: &mut Script<'_>) -> Option<Digest> {
        let newest = self.proposals.iter().rev().take(3).map(|proposal| Some(proposal.digest()));
        let values: Vec<_> = newest.chain([None, Some(Digest([1; 32]))]).collect();
        script.one_of(&values)
    }

    fn vote(&self, script: &mut Script<'_>, moment: &Moment<'_>, round: Round) -> Vote {
        let step = script.one_of(&[VoteStep::Prevote, VoteStep::Precommit]);
        Vote { round, view: view(script, moment), step, value: self.value(script) }
    }

    fn proposal_message(&self, script: &mut Script<'_>, moment: &Moment<'_>) -> ProposalMessage {
        let view = view(script, moment);
        if script.once_in(4) && !self.proposals.is_empty() {
            let proposal = script.one_of(&self.proposals);
            let valid_view = script.one_of(&[None, Some(proposal.view), Some(View(0))]);
            return ProposalMessage { view, valid_view, proposal };
        }
        let mut proposal = self.proposal(script, moment, view);
        match script.below(12) {
            0 => proposal.previous = Digest([1; 32]),
            1 => proposal.round.0 += 1,
            2 => proposal.view = View(view.0.wrapping_add(1)),
            3 => proposal.result = BlobRef::of(b"something else"),
            _ => {}
        }
        ProposalMessage { view, valid_view: None, proposal }
    }

    fn proposal(&self, script: &mut Script<'_>, moment: &Moment<'_>, view: View) -> Proposal {
        let tip = moment.tip;
        let (mut included, mut absent) = (Vec::new(), Vec::new());
        for member in tip.roster.members().iter().map(|member| member.id()) {
            let known: Vec<_> = self.updates.iter().filter(|known| known.0 == member).collect();
            let fresh = known.iter().rev().find(|known| known.1 == tip.round);
            match fresh.filter(|_| !script.once_in(6)) {
                Some((_, _, envelope)) => {
                    included.push(Contribution { member, envelope: envelope.clone() });
                }
                None => {
                    let late =
                        known.last().map(|known| Absence::Late { envelope: known.2.clone() });
                    let refused = Absence::Refused { because: "x".repeat(script.below(250)) };
                    let why = script.one_of(&[Absence::NoUpdate, refused]);
                    let why = late.filter(|_| script.once_in(2)).unwrap_or(why);
                    let heard = script.once_in(8).then(|| script.bytes(64).to_vec());
                    absent.push(Absent { member, why, heard });
                }
            }
        }
        let mut proposal = Proposal {
            round: tip.round,
            view,
            aggregator: tip.leaders().of(view),
            failed_views: tip.failed_views(View(view.0.min(FAILED_MAX))),
            previous: tip.head,
            start: tip.adapter,
            included,
            absent,
            evidence: Vec::new(),
            refutation: None,
            decision: None,
            strategy: "fedavg".into(),
            result: BlobRef::of(b"none"),
            naive_error: Vec::new(),
        };
        if let Some(result) = model::result_of(&tip.roster, moment.late_rounds, &proposal) {
            proposal.result = result;
        }
        proposal
    }

    fn holdings(&self, script: &mut Script<'_>, moment: &Moment<'_>, round: Round) -> Holdings {
        let roll = |script: &mut Script<'_>| MemberSet(u64::from(script.byte()));
        let value = self.value(script);
        let (updates, blobs, members) = (roll(script), roll(script), roll(script));
        let view = view(script, moment);
        let step = script.one_of(&[VoteStep::Prevote, VoteStep::Precommit]);
        let held = ProposalHeld { view, value: value.unwrap_or_default() };
        Holdings {
            round,
            head: script.one_of(&[moment.tip.head, Digest([2; 32])]),
            updates,
            blobs,
            proposals: vec![held],
            votes: vec![VotesHeld { view, step, value, members }],
            polkas: Vec::new(),
            ballots: Vec::new(),
        }
    }

    fn polka(&self, script: &mut Script<'_>, moment: &Moment<'_>) -> Message {
        let vote = self.vote(script, moment, moment.tip.round);
        let Vote { round, view, value, .. } = vote;
        let prevote = Message::Vote(Vote { step: VoteStep::Prevote, ..vote });
        let signatures = signatures(moment, &prevote, 1 + script.below(MEMBERS));
        Message::Polka(Polka { round, view, value: value.unwrap_or_default(), signatures })
    }

    /// A record of something proposed, under everybody's signature but the listener's.
    fn certified(&self, script: &mut Script<'_>, moment: &Moment<'_>) -> Message {
        let round = moment.tip.round;
        let record = match self.proposals.last() {
            Some(proposal) if !script.once_in(4) => {
                let (view, value) = (proposal.view, Some(proposal.digest()));
                let round = proposal.round;
                let vote = Message::Vote(Vote { round, view, step: VoteStep::Precommit, value });
                let signatures = signatures(moment, &vote, 1 + script.below(MEMBERS));
                let certificate = Certificate { view, signatures };
                RoundRecord { proposal: proposal.clone(), certificate }.encode()
            }
            _ => script.bytes(64).to_vec(),
        };
        Message::Record(RecordCopy { round, until: Round(round.0 + 1), record })
    }

    fn evidence(&self, script: &mut Script<'_>, round: Round, signer: &Identity) -> Message {
        let some = [Vec::new()];
        let heard = if self.heard.is_empty() { &some[..] } else { &self.heard[..] };
        let (first, second) = (script.one_of(heard), script.one_of(heard));
        let (first, second) = if first < second { (first, second) } else { (second, first) };
        Message::Evidence(Evidence { member: signer.member(), round, first, second })
    }

    fn objection(&self, script: &mut Script<'_>, moment: &Moment<'_>, round: Round) -> Message {
        let (view, value) = (view(script, moment), self.value(script).unwrap_or_default());
        let words = String::from_utf8_lossy(script.bytes(64)).into_owned();
        let (field, expected, found) = (words.clone(), words.clone(), words);
        let against = world::identity(script.below(MEMBERS)).member();
        Message::Objection(Objection { round, view, against, value, field, expected, found })
    }
}

fn view(script: &mut Script<'_>, moment: &Moment<'_>) -> View {
    let here = moment.view.0;
    View(script.one_of(&[here, here, here, 0, here + 1, here + 3, here + 11, u32::MAX]))
}

fn update(script: &mut Script<'_>, moment: &Moment<'_>, round: Round, by: &Identity) -> Update {
    let delta = BlobRef::of(&codec::encode(&(by.member(), round, script.below(3))));
    let delta = if script.once_in(8) { model::unusable(delta) } else { delta };
    let loss = script.one_of(&[1.0, 0.5, f32::NAN, f32::INFINITY]);
    Update {
        round,
        start: script.one_of(&[moment.tip.adapter.digest, model::start().digest]),
        delta,
        codec: Compression::None,
        examples: 128,
        steps: script.one_of(&[8, 8, 8, 1, 0, 9, u64::MAX]),
        scores: Scores { loss, ..Scores::default() },
    }
}

fn progress(script: &mut Script<'_>, round: Round) -> Heartbeat {
    let reason = String::from_utf8_lossy(script.bytes(64)).into_owned();
    let sits_out = script.once_in(2).then_some(reason);
    let (step, steps) = (u64::from(script.byte()), 8);
    Heartbeat { round, step, steps, loss: 1.0, sits_out }
}

fn ballot(script: &mut Script<'_>, moment: &Moment<'_>, by: &Identity) -> Ballot {
    let some = world::identity(script.below(MEMBERS + 2)).member();
    let new = Member { name: "new".into(), key: some, addresses: Vec::new(), weight: 1 };
    let to = world::identity(MEMBERS + 3).member();
    let change = script.one_of(&[
        Change::Add(new),
        Change::Remove(some),
        Change::RotateKey { from: some, to },
    ]);
    let by = script.one_of(&[by.member(), world::identity(1).member()]);
    let opened = Round(script.one_of(&[moment.tip.round.0, 1, u64::MAX]));
    Ballot { petition: Petition { by, opened, change }, approve: !script.once_in(4) }
}

/// `vote` as so many members from the second on sign it.
fn signatures(moment: &Moment<'_>, vote: &Message, count: usize) -> Vec<MemberSignature> {
    let sign = |place| {
        let identity = world::identity(place);
        let signature = envelope::sign(&identity, moment.tip.roster.federation(), vote);
        MemberSignature { member: identity.member(), signature }
    };
    (1..MEMBERS.min(1 + count)).map(sign).collect()
}

/// Members of the federation; the listener is the first.
pub(super) const MEMBERS: usize = 4;

/// Envelopes kept.
const KEPT_MAX: usize = 400;

/// Failed views that are listed: a proposal must fit its envelope.
const FAILED_MAX: u32 = 64;
