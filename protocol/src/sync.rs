//! Anti-entropy: members tell what they hold, and give each other what is missing.
//!
//! Gossip loses messages and nobody resends them; this does. Once a second, and on connecting, a
//! member tells a few peers what it holds of its round. Whoever has more answers with it: records
//! for one behind, updates, motions and votes for one in the same round. Answers are bounded.

use crate::io::{Notice, Time};
use crate::ledger::Ledger;
use crate::member::{MemberId, Round as RoundNumber};
use crate::outbox::Post;
use crate::peers::Peers;
use crate::round::Round;
use crate::wire::{Certified, Holdings, Kind, Message, MotionHeld, Polka, Roll, Step, envelope};

/// When to tell what, and what was told of being stalled.
#[derive(Debug)]
pub struct Sync {
    next: Time,
    answered: Option<Time>,
    short_since: Option<Time>,
    has_met: bool,
    stalled: Vec<MemberId>,
    told: Option<(Holdings, Vec<u8>)>,
}

impl Sync {
    /// Begins at once.
    pub fn new(now: Time) -> Self {
        Self {
            next: now,
            answered: None,
            short_since: None,
            has_met: false,
            stalled: Vec::new(),
            told: None,
        }
    }

    /// Members missing while nothing can be decided; empty otherwise.
    pub fn stalled(&self) -> &[MemberId] {
        &self.stalled
    }

    /// Tells a few peers, once a second, while there is something to decide or to fetch.
    pub fn on_tick(&mut self, now: Time, post: &mut Post, round: &Round, peers: &mut Peers) {
        if now < self.next || round.is_finished() {
            return;
        }
        self.next = Time(now.0 + TELL_EVERY_MS);
        for peer in peers.next_turn(PEERS_TOLD) {
            self.tell(post, round, peer);
        }
        self.watch(now, post, round, peers);
    }

    /// A peer was connected: it hears at once.
    pub fn on_connected(&mut self, post: &mut Post, round: &Round, peer: MemberId) {
        self.tell(post, round, peer);
    }

    /// The records a peer gave are used up: it is asked for more at once, if it has more.
    pub fn on_given(&mut self, post: &mut Post, round: &Round, from: MemberId, until: RoundNumber) {
        let (here, at_end) =
            (round.tip.round, (round.tip.round.0 - 1).is_multiple_of(RECORDS_GIVEN_MAX));
        if at_end && until > here {
            self.tell(post, round, from);
        }
    }

    /// What a peer holds: it is given what it lacks.
    pub fn on_holdings(
        &mut self,
        now: Time,
        post: &mut Post,
        (ledger, round): (&Ledger, &mut Round),
        (from, theirs): (MemberId, &Holdings),
    ) {
        let ours = round.tip.round;
        if theirs.round < ours {
            give_records(post, ledger, from, theirs.round);
        } else if theirs.round > ours {
            if self.answered.is_none_or(|at| now.0 >= at.0 + ANSWER_EVERY_MS) {
                self.answered = Some(now);
                self.tell(post, round, from);
            }
        } else if theirs.head != round.tip.head {
            let because = format!(
                "its ledger head is {}, ours {}",
                theirs.head.short(),
                round.tip.head.short()
            );
            post.notice(Notice::Objection { round: ours, against: from, because });
        } else {
            round.on_holder(from, theirs.blobs.places());
            give(post, round, from, theirs);
        }
    }

    /// Tells one peer what is held. Signed once per change: most peers are told the same.
    fn tell(&mut self, post: &mut Post, round: &Round, to: MemberId) {
        let holdings = holdings(round);
        let number = holdings.round;
        let known = self.told.take().filter(|(told, _)| *told == holdings);
        let (told, bytes) = known.unwrap_or_else(|| {
            let bytes = post.seal(&Message::Holdings(holdings.clone()));
            (holdings, bytes)
        });
        post.send_sealed(to, Kind::Holdings, number, bytes.clone());
        self.told = Some((told, bytes));
        // Gossip loses it, most of all from one who fails before the others are connected; whoever has
        // not heard it waits until the deadline.
        if let Some(excuse) = round.excuse() {
            post.send_sealed(to, Kind::Progress, round.tip.round, excuse.to_vec());
        }
    }

    /// Says once per change that too few members are there to decide anything.
    fn watch(&mut self, now: Time, post: &mut Post, round: &Round, peers: &Peers) {
        let me = post.member();
        let missing: Vec<_> = post
            .roster
            .members()
            .iter()
            .map(|member| member.id())
            .filter(|member| *member != me && !peers.is_live(member, now))
            .collect();
        let (size, quorum) = (post.roster.size(), post.roster.quorum());
        if round.is_last() || post.place().is_none() || size - missing.len() >= quorum {
            self.has_met = true;
            self.short_since = None;
            self.stalled.clear();
            return;
        }
        let since = *self.short_since.get_or_insert(now);
        let patience = if self.has_met { STALL_AFTER_MS } else { MEET_WITHIN_MS };
        if now.0 >= since.0 + patience && missing != self.stalled {
            self.stalled.clone_from(&missing);
            let (votes, needed) = ((size - missing.len()) as u64, quorum as u64);
            let round = round.tip.round;
            post.notice(Notice::Stalled { round, missing, votes, needed });
        }
    }
}

fn holdings(round: &Round) -> Holdings {
    let (motions, votes, polkas) = round.council.tally().held();
    Holdings {
        round: round.tip.round,
        head: round.tip.head,
        updates: round.updates.keys().copied().collect(),
        blobs: round.updates.keys().copied().filter(|place| round.has_delta(*place)).collect(),
        motions,
        votes,
        polkas,
        ballots: round.agenda.polls.held(&round.tip.roster),
    }
}

/// Gives the records from `from` on, up to the next multiple of so many.
fn give_records(post: &mut Post, ledger: &Ledger, to: MemberId, from: RoundNumber) {
    let until = ledger.tip().round;
    let last = from.0.max(1).next_multiple_of(RECORDS_GIVEN_MAX);
    for round in (from.0..=last).map(RoundNumber) {
        let Some(record) = ledger.record(round) else {
            break;
        };
        let record = record.to_vec();
        post.send(to, &Message::Certified(Certified { round, until, record }));
    }
}

fn give(post: &mut Post, round: &Round, to: MemberId, theirs: &Holdings) {
    let number = round.tip.round;
    for (place, held) in &round.updates {
        if !theirs.updates.contains(*place) {
            post.send_sealed(to, Kind::Update, number, held.envelope.clone());
        }
    }
    let tally = round.council.tally();
    for put in tally.motions() {
        let motion = &put.motion;
        let view = motion.message.view;
        let known = MotionHeld { view, value: put.value };
        if !theirs.motions.contains(&known) && view.0 + VIEWS_GIVEN > round.council.view().0 {
            let message = Message::Motion(motion.message.clone());
            let bytes = envelope::reseal(motion.member, &message, &motion.signature);
            post.send_sealed(to, Kind::Proposal, number, bytes);
        }
    }
    for vote in tally.votes_missing(&theirs.votes).into_iter().take(VOTES_GIVEN_MAX) {
        let bytes = envelope::reseal(vote.member, &Message::Vote(vote.message), &vote.signature);
        post.send_sealed(to, Kind::Vote, number, bytes);
    }
    let ballots = round.agenda.polls.missing(&round.tip.roster, &theirs.ballots);
    for (opened, bytes) in ballots.into_iter().take(BALLOTS_GIVEN_MAX) {
        post.send_sealed(to, Kind::Ballot, opened, bytes);
    }
    give_polkas(post, round, to, theirs);
}

/// What a peer has all votes of and still cannot see, because of members that cast two.
fn give_polkas(post: &mut Post, round: &Round, to: MemberId, theirs: &Holdings) {
    let hidden = |polka: &&Polka| {
        let known = theirs.polkas.iter().any(|p| (p.view, p.value) == (polka.view, polka.value));
        let places = polka.signatures.iter().filter_map(|s| post.roster.place_of(&s.member));
        let voters: Roll = places.collect();
        let of_view = theirs.votes.iter().filter(|held| held.view == polka.view);
        let prevotes = of_view.clone().filter(|held| held.step == Step::Prevote);
        let told: Roll = prevotes.flat_map(|held| held.members.places()).collect();
        !known && (of_view.count() == 0 || voters.without(told).count() == 0)
    };
    let newest = round.council.tally().polkas().filter(hidden).last().cloned();
    if let Some(polka) = newest {
        post.send(to, &Message::Polka(polka));
    }
}

/// How often holdings are told: a lost message costs at most about this.
const TELL_EVERY_MS: u64 = 1000;

/// Peers told each time: with 16 members, everyone is told by somebody nearly every second.
const PEERS_TOLD: usize = 3;

/// One behind asks again no sooner.
const ANSWER_EVERY_MS: u64 = 200;

/// Records given in one answer; they may arrive in any order.
pub const RECORDS_GIVEN_MAX: u64 = 16;

/// Motions of so many newest views are given.
const VIEWS_GIVEN: u32 = 4;

/// Votes given in one answer: two steps of two views of 64 members.
const VOTES_GIVEN_MAX: usize = 256;

/// Ballots given in one answer: two petitions of 64 members.
const BALLOTS_GIVEN_MAX: usize = 128;

/// How long too few members are there before it is said.
const STALL_AFTER_MS: u64 = 3000;

/// How long that may take after the start: members of a federation are started one after the other.
const MEET_WITHIN_MS: u64 = 15_000;
