//! Anti-entropy: members send each other their holdings, then what the other lacks.
//!
//! Gossip loses messages and does not resend them; this does. Once a second, and on connecting, a
//! member sends a few peers a list of what it has of its round. A peer that has more answers with
//! it: records to a member behind; updates, proposals and votes to one in the same round. Answers
//! are bounded.

use crate::io::{Notice, Time};
use crate::ledger::Ledger;
use crate::member::{MemberId, Round as RoundNumber};
use crate::outbox::Outbox;
use crate::peers::Peers;
use crate::round::Round;
use crate::wire::{
    Holdings, Kind, MemberSet, Message, Polka, ProposalHeld, RecordCopy, VoteStep, envelope,
};

/// When to send holdings, the ones last sent, and whether too few members are reachable.
#[derive(Debug)]
pub(crate) struct Sync {
    next: Time,
    answered: Option<Time>,
    short_since: Option<Time>,
    has_had_quorum: bool,
    stalled: Vec<MemberId>,
    sent: Option<(Holdings, Vec<u8>)>,
}

impl Sync {
    /// Sends holdings at the first tick.
    pub(crate) fn new(now: Time) -> Self {
        Self {
            next: now,
            answered: None,
            short_since: None,
            has_had_quorum: false,
            stalled: Vec::new(),
            sent: None,
        }
    }

    /// Members missing while nothing can be decided; empty otherwise.
    pub(crate) fn stalled(&self) -> &[MemberId] {
        &self.stalled
    }

    /// Sends holdings to a few peers, once a second, while there is something to decide or to
    /// fetch.
    pub(crate) fn on_tick(
        &mut self,
        now: Time,
        outbox: &mut Outbox,
        round: &Round,
        peers: &mut Peers,
    ) {
        if now < self.next || round.is_finished() {
            return;
        }
        self.next = Time(now.0 + HOLDINGS_EVERY_MS);
        for peer in peers.next_round_robin(HOLDINGS_PEERS) {
            self.send_holdings(outbox, round, peer);
        }
        self.check_stalled(now, outbox, round, peers);
    }

    /// A peer connected: it is sent the holdings at once.
    pub(crate) fn on_connected(&mut self, outbox: &mut Outbox, round: &Round, peer: MemberId) {
        self.send_holdings(outbox, round, peer);
    }

    /// The records a peer sent are used up: it is asked for more at once, if it has more.
    pub(crate) fn on_records_used(
        &mut self,
        outbox: &mut Outbox,
        round: &Round,
        from: MemberId,
        until: RoundNumber,
    ) {
        let (here, at_end) =
            (round.tip.round, (round.tip.round.0 - 1).is_multiple_of(RECORDS_SENT_MAX));
        if at_end && until > here {
            self.send_holdings(outbox, round, from);
        }
    }

    /// A peer's holdings: it is sent what it lacks.
    pub(crate) fn on_holdings(
        &mut self,
        now: Time,
        outbox: &mut Outbox,
        (ledger, round): (&Ledger, &mut Round),
        (from, theirs): (MemberId, &Holdings),
    ) {
        let ours = round.tip.round;
        if theirs.round < ours {
            send_records(outbox, ledger, from, theirs.round);
        } else if theirs.round > ours {
            if self.answered.is_none_or(|at| now.0 >= at.0 + ANSWER_EVERY_MS) {
                self.answered = Some(now);
                self.send_holdings(outbox, round, from);
            }
        } else if theirs.head != round.tip.head {
            let because = format!(
                "its ledger head is {}, ours {}",
                theirs.head.short(),
                round.tip.head.short()
            );
            outbox.notice(Notice::Objection { round: ours, against: from, because });
        } else {
            round.on_holder(from, theirs.blobs.places());
            send_missing(outbox, round, from, theirs);
        }
    }

    /// Sends one peer the holdings. Signed once per change: most peers are sent the same.
    fn send_holdings(&mut self, outbox: &mut Outbox, round: &Round, to: MemberId) {
        let holdings = holdings(round);
        let number = holdings.round;
        if self.sent.as_ref().is_none_or(|(sent, _)| *sent != holdings) {
            let bytes = outbox.seal(&Message::Holdings(holdings.clone()));
            self.sent = Some((holdings, bytes));
        }
        if let Some((_, bytes)) = &self.sent {
            outbox.send_sealed(to, Kind::Holdings, number, bytes.clone());
        }
        // Gossip may lose it, above all from a member that fails before the others are connected; a
        // member that never receives it waits until the deadline.
        if let Some(excuse) = round.excuse() {
            outbox.send_sealed(to, Kind::Heartbeat, round.tip.round, excuse.to_vec());
        }
    }

    /// Reports, once per change, that too few members are reachable for a decision.
    fn check_stalled(&mut self, now: Time, outbox: &mut Outbox, round: &Round, peers: &Peers) {
        let me = outbox.member();
        let missing: Vec<_> = outbox
            .roster
            .members()
            .iter()
            .map(|member| member.id())
            .filter(|member| *member != me && !peers.is_live(member, now))
            .collect();
        let (size, quorum) = (outbox.roster.size(), outbox.roster.quorum());
        if round.is_last() || outbox.place().is_none() || size - missing.len() >= quorum {
            self.has_had_quorum = true;
            self.short_since = None;
            self.stalled.clear();
            return;
        }
        let since = *self.short_since.get_or_insert(now);
        let patience = if self.has_had_quorum { STALL_AFTER_MS } else { START_WITHIN_MS };
        if now.0 >= since.0 + patience && missing != self.stalled {
            self.stalled.clone_from(&missing);
            let (votes, needed) = ((size - missing.len()) as u64, quorum as u64);
            let round = round.tip.round;
            outbox.notice(Notice::Stalled { round, missing, votes, needed });
        }
    }
}

fn holdings(round: &Round) -> Holdings {
    let (proposals, votes, polkas) = round.consensus.tally().held();
    Holdings {
        round: round.tip.round,
        head: round.tip.head,
        updates: round.updates.keys().copied().collect(),
        blobs: round.updates.keys().copied().filter(|place| round.has_delta(*place)).collect(),
        proposals,
        votes,
        polkas,
        ballots: round.pending.petitions.held(&round.tip.roster),
    }
}

/// Sends the records from `from` on, up to the next multiple of [`RECORDS_SENT_MAX`].
fn send_records(outbox: &mut Outbox, ledger: &Ledger, to: MemberId, from: RoundNumber) {
    let until = ledger.tip().round;
    let last = from.0.max(1).next_multiple_of(RECORDS_SENT_MAX);
    for round in (from.0..=last).map(RoundNumber) {
        let Some(record) = ledger.record(round) else {
            break;
        };
        let record = record.to_vec();
        outbox.send(to, &Message::Record(RecordCopy { round, until, record }));
    }
}

fn send_missing(outbox: &mut Outbox, round: &Round, to: MemberId, theirs: &Holdings) {
    let number = round.tip.round;
    for (place, held) in &round.updates {
        if !theirs.updates.contains(*place) {
            outbox.send_sealed(to, Kind::Update, number, held.envelope.clone());
        }
    }
    let tally = round.consensus.tally();
    for held in tally.proposals() {
        let signed = &held.signed;
        let view = signed.message.view;
        let known = ProposalHeld { view, value: held.value };
        if !theirs.proposals.contains(&known) && view.0 + VIEWS_SENT > round.consensus.view().0 {
            let message = Message::Proposal(signed.message.clone());
            let bytes = envelope::reseal(signed.signer, &message, &signed.signature);
            outbox.send_sealed(to, Kind::Proposal, number, bytes);
        }
    }
    for vote in tally.votes_missing(&theirs.votes).into_iter().take(VOTES_SENT_MAX) {
        let bytes = envelope::reseal(vote.signer, &Message::Vote(vote.message), &vote.signature);
        outbox.send_sealed(to, Kind::Vote, number, bytes);
    }
    let ballots = round.pending.petitions.missing(&round.tip.roster, &theirs.ballots);
    for (opened, bytes) in ballots.into_iter().take(BALLOTS_SENT_MAX) {
        outbox.send_sealed(to, Kind::Ballot, opened, bytes);
    }
    send_polka(outbox, round, to, theirs);
}

/// Sends a quorum whose votes a peer has and still cannot see, because some members cast two.
fn send_polka(outbox: &mut Outbox, round: &Round, to: MemberId, theirs: &Holdings) {
    let hidden = |polka: &&Polka| {
        let known = theirs.polkas.iter().any(|p| (p.view, p.value) == (polka.view, polka.value));
        let places = polka.signatures.iter().filter_map(|s| outbox.roster.place_of(&s.member));
        let voters: MemberSet = places.collect();
        let of_view = theirs.votes.iter().filter(|held| held.view == polka.view);
        let prevotes = of_view.clone().filter(|held| held.step == VoteStep::Prevote);
        let prevoters: MemberSet = prevotes.flat_map(|held| held.members.places()).collect();
        !known && (of_view.count() == 0 || voters.without(prevoters).count() == 0)
    };
    let newest = round.consensus.tally().polkas().filter(hidden).last().cloned();
    if let Some(polka) = newest {
        outbox.send(to, &Message::Polka(polka));
    }
}

/// How often holdings are sent: a lost message costs at most about this.
const HOLDINGS_EVERY_MS: u64 = 1000;

/// Peers sent to each time: with 16 members, each receives somebody's holdings nearly every second.
const HOLDINGS_PEERS: usize = 3;

/// A member behind asks again no sooner.
const ANSWER_EVERY_MS: u64 = 200;

/// Records sent in one answer; they may arrive in any order.
pub(crate) const RECORDS_SENT_MAX: u64 = 16;

/// Proposals of so many newest views are sent.
const VIEWS_SENT: u32 = 4;

/// Votes sent in one answer: two steps of two views of 64 members.
const VOTES_SENT_MAX: usize = 256;

/// Ballots sent in one answer: two petitions of 64 members.
const BALLOTS_SENT_MAX: usize = 128;

/// How long too few members are reachable before it is reported.
const STALL_AFTER_MS: u64 = 3000;

/// The same after the start: the members of a federation are started one after the other.
const START_WITHIN_MS: u64 = 15_000;
