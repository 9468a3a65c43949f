//! Proves which late updates may count: those of a round that closed lately and without them,
//! signed by the member they stand in for, trained from that round's adapter, once, and for less.

use std::sync::Arc;

use witan_protocol::digest::{BlobRef, Digest};
use witan_protocol::federation::{Compression, Federation};
use witan_protocol::ledger::{self, Tip};
use witan_protocol::member::{Round, View};
use witan_protocol::wire::{
    Absence, Absent, Change, Contribution, Decision, Heartbeat, Message, Petition, Proposal,
    Scores, Update, envelope,
};
use witan_protocol::{Identity, codec};

fn identity(n: u8) -> Identity {
    Identity::from_seed([n; 32])
}

fn federation(late_rounds: u64) -> Arc<Federation> {
    let members: String = (1..=4)
        .map(|n| {
            let key = identity(n).member();
            format!("[[members]]\nname = \"m{n}\"\nkey = \"{key}\"\nweight = {n}\n")
        })
        .collect();
    let text = format!(
        "name = \"a\"\nseed = 1\nbase = \"{}\"\n\
         [lora]\nrank = 4\nalpha = 8.0\ndropout = 0.0\ntargets = [\"q\"]\n\
         [training]\nrounds = 9\nlocal_steps = 8\nbatch_questions = 1\nbatch_captions = 1\n\
         learning_rate = 0.1\nlearning_rate_final = 0.1\nweight_decay = 0.0\n\
         strategy = \"fedavg\"\n\
         [council]\nround_deadline_s = 60\nlate_rounds = {late_rounds}\n{members}",
        Digest([7; 32])
    );
    Arc::new(Federation::from_toml(&text).unwrap())
}

/// A chain of rounds, each closed by members 1 to 3; what member 4 trained for each came too late.
struct Chain {
    federation: Arc<Federation>,
    tips: Vec<Tip>,
}

impl Chain {
    fn new(late_rounds: u64, rounds: usize) -> Self {
        let federation = federation(late_rounds);
        let tips = vec![Tip::genesis(&federation, BlobRef::of(b"start"))];
        let mut chain = Self { federation, tips };
        while chain.tips.len() < rounds {
            chain.close(Absence::NoUpdate);
        }
        chain
    }

    fn tip(&self) -> &Tip {
        self.tips.last().unwrap()
    }

    /// Commits the next round, with this said of member 4.
    fn close(&mut self, why: Absence) {
        let proposal = self.proposal(why);
        ledger::check_proposal(&self.federation, self.tip(), &proposal, &|_, _| None).unwrap();
        self.tips.push(self.tip().after(&proposal));
    }

    fn proposal(&self, why: Absence) -> Proposal {
        let tip = self.tip();
        let part = |n| {
            let envelope = self.update(n, tip.round.0, |_| {});
            Contribution { member: identity(n).member(), envelope }
        };
        Proposal {
            round: tip.round,
            view: View(0),
            aggregator: tip.leaders().of(View(0)),
            failed_views: Vec::new(),
            previous: tip.head,
            start: tip.adapter,
            included: (1..=3).map(part).collect(),
            absent: vec![Absent { member: identity(4).member(), why, heard: None }],
            evidence: Vec::new(),
            refutation: None,
            decision: None,
            strategy: "fedavg".into(),
            result: BlobRef::of(&codec::encode(&tip.round)),
            naive_error: Vec::new(),
        }
    }

    /// What member `n` trained for a round, altered.
    fn update(&self, n: u8, round: u64, alter: impl FnOnce(&mut Update)) -> Vec<u8> {
        let start = self.tips[round as usize - 1].adapter.digest;
        let mut update = Update {
            round: Round(round),
            start,
            delta: BlobRef::of(&[n, round as u8]),
            codec: Compression::None,
            examples: 8,
            steps: 8,
            scores: Scores::default(),
        };
        alter(&mut update);
        envelope::seal(&identity(n), self.federation.id(), &Message::Update(update))
    }

    fn late(&self, round: u64) -> Absence {
        Absence::Late { envelope: self.update(4, round, |_| {}) }
    }

    /// The field in which a proposal that says this of member 4 is wrong.
    fn flaw(&self, why: Absence) -> Option<String> {
        let proposal = self.proposal(why);
        let checked = ledger::check_proposal(&self.federation, self.tip(), &proposal, &|_, _| None);
        checked.err().map(|flaw| flaw.field)
    }
}

fn flaw(field: &str) -> Option<String> {
    Some(format!("absent of m4{field}"))
}

#[test]
fn an_update_of_a_round_that_closed_without_it_may_count_for_as_long_as_agreed() {
    let chain = Chain::new(2, 4);
    assert_eq!(chain.flaw(chain.late(3)), None);
    assert_eq!(chain.flaw(chain.late(2)), None);
    assert_eq!(chain.flaw(chain.late(1)), flaw(".late.round"), "three rounds late");
    assert_eq!(chain.flaw(chain.late(4)), flaw(".late.round"), "not late: it has its own place");
    let closed = Chain::new(0, 4);
    assert_eq!(closed.flaw(closed.late(3)), flaw(".late.round"), "nobody agreed to any");
}

#[test]
fn a_late_update_is_checked_like_any_other() {
    let chain = Chain::new(2, 3);
    let late = |alter: fn(&mut Update)| Absence::Late { envelope: chain.update(4, 2, alter) };
    assert_eq!(chain.flaw(late(|_| {})), None);
    assert_eq!(chain.flaw(late(|u| u.start = Digest([1; 32]))), flaw(".late.start"));
    assert_eq!(chain.flaw(late(|u| u.steps = 9)), flaw(".steps"));
    assert_eq!(chain.flaw(late(|u| u.scores.loss = f32::NAN)), flaw(".scores"));
    let other = Absence::Late { envelope: chain.update(3, 2, |_| {}) };
    assert_eq!(chain.flaw(other), flaw(""), "another member's");
    let mut altered = chain.update(4, 2, |_| {});
    let last = altered.len() - 1;
    altered[last] ^= 1;
    assert_eq!(chain.flaw(Absence::Late { envelope: altered }), flaw(""), "a broken signature");
}

#[test]
fn an_update_counts_once_and_not_after_a_newer_one() {
    let mut chain = Chain::new(3, 3);
    chain.close(chain.late(2));
    assert_eq!(chain.flaw(chain.late(2)), flaw(".late.round"), "it counted");
    assert_eq!(chain.flaw(chain.late(1)), flaw(".late.round"), "a newer one counted");
    assert_eq!(chain.flaw(chain.late(3)), None);
    // Members 1 to 3 counted in every round: nothing of theirs is left to count late.
    let mut proposal = chain.proposal(Absence::NoUpdate);
    let first = proposal.included.remove(0).member;
    let why = Absence::Late { envelope: chain.update(1, 3, |_| {}) };
    proposal.absent.insert(0, Absent { member: first, why, heard: None });
    let flaw = ledger::check_proposal(&chain.federation, chain.tip(), &proposal, &|_, _| None);
    assert_eq!(flaw.unwrap_err().field, "absent of m1.late.round");
}

#[test]
fn a_late_update_weighs_one_part_in_one_more_than_the_rounds_it_is_late() {
    let weights = |late_rounds, round| {
        let chain = Chain::new(late_rounds, 4);
        let proposal = chain.proposal(chain.late(round));
        let roster = chain.federation.founders();
        let inputs = ledger::inputs_of(&chain.federation, roster, &proposal);
        inputs.iter().map(|input| input.weight).collect::<Vec<_>>()
    };
    // Eight steps, members' weights 1 to 4.
    assert_eq!(weights(2, 3), [48, 96, 144, 192 / 2]);
    assert_eq!(weights(2, 2), [48, 96, 144, 192 / 3]);
    let closed = Chain::new(0, 4).proposal(Absence::NoUpdate);
    let inputs = ledger::inputs_of(&federation(0), federation(0).founders(), &closed);
    assert_eq!(inputs.iter().map(|i| i.weight).collect::<Vec<_>>(), [8, 16, 24], "off: as ever");
}

#[test]
fn a_late_update_does_not_outlive_the_roster_it_was_trained_under() {
    let mut chain = Chain::new(3, 3);
    let mut proposal = chain.proposal(Absence::NoUpdate);
    let change = Change::Remove(identity(3).member());
    let petition = Petition { by: identity(1).member(), opened: Round(3), change };
    proposal.decision = Some(Box::new(Decision { petition, ballots: Vec::new() }));
    chain.tips.push(chain.tip().after(&proposal));
    assert!(!chain.tip().lateness.admits(Round(3)));
    chain.tips.push(chain.tip().after(&chain.proposal(Absence::NoUpdate)));
    assert!(chain.tip().lateness.admits(Round(4)), "rounds of the new roster count again");
}

#[test]
fn a_heartbeat_is_not_shown_beside_a_late_update() {
    let chain = Chain::new(1, 2);
    let mut proposal = chain.proposal(chain.late(1));
    let progress = Heartbeat { round: Round(2), step: 1, steps: 8, loss: 1.0, sits_out: None };
    let id = chain.federation.id();
    let heard = envelope::seal(&identity(4), id, &Message::Heartbeat(progress));
    proposal.absent[0].heard = Some(heard);
    let checked = ledger::check_proposal(&chain.federation, chain.tip(), &proposal, &|_, _| None);
    assert_eq!(checked.unwrap_err().field, "absent of m4");
}
