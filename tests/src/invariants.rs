//! What must hold in every run, one file each. Looked at after every event, through what honest
//! members say, persist, want done and show; each invariant keeps only what it needs to notice.
//!
//! They check the protocol from outside: quorums are counted again, links compared again, honest
//! signatures compared with what their owners really said. Where a check can do without the code it
//! checks, it does.

mod accused_lied;
mod adopted_was_certified;
mod aggregate_reproducible;
mod counted_once;
mod everything_bounded;
mod inputs_were_signed;
mod ledger_continuous;
mod liveness;
mod one_record_per_round;
mod quorum_is_real;
mod roster_agreed;
mod round_monotonic;
mod vote_once;

use std::collections::HashSet;
use std::fmt;

use witan_protocol::Roster;
use witan_protocol::digest::Digest;
use witan_protocol::federation::Federation;
use witan_protocol::io::{Output, Time};
use witan_protocol::member::MemberId;
use witan_protocol::status::Load;
use witan_protocol::status::Status;
use witan_protocol::wire::{Message, RoundRecord, Verified};

use liveness::Liveness;
pub use liveness::progress_within_ms;

/// One thing that must hold.
pub trait Invariant {
    /// Its name, as in `docs/TESTING.md`.
    fn name(&self) -> &'static str;

    /// Takes in what an honest member did; an error if it breaks the invariant.
    fn observe(&mut self, scene: &Scene<'_>, observation: &Observation<'_>) -> Result<(), String>;
}

/// Who did something, and when.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// The member.
    pub node: usize,
    /// Its key.
    pub me: MemberId,
    /// When.
    pub now: Time,
    /// Where.
    pub federation: &'a Federation,
    /// The members of its round, as it has them.
    pub roster: &'a Roster,
}

/// What an honest member did.
#[derive(Clone, Copy, Debug)]
pub enum Observation<'a> {
    /// It was started from its disk.
    Started,
    /// It wants something done; nothing is done yet.
    Wants(&'a Output),
    /// It hands out a message, its own or another's, in these bytes.
    Said(&'a Verified<Message>, &'a [u8]),
    /// It makes a record durable.
    Persisted(&'a RoundRecord),
    /// It has nothing more to do for now.
    Settled {
        /// What it shows.
        status: &'a Status,
        /// What it holds.
        load: &'a Load,
        /// How many outputs the last input led to.
        outputs: usize,
    },
}

impl Observation<'_> {
    /// A record made durable that is not yet among `seen`. All persist the same records in the same
    /// order: the first one is checked for all.
    fn new_record(&self, seen: &mut HashSet<Digest>) -> Option<&RoundRecord> {
        match self {
            Observation::Persisted(record) => {
                seen.insert(record.proposal.digest()).then_some(*record)
            }
            _ => None,
        }
    }
}

/// Everything that did not hold after one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// At least one.
    pub broken: Vec<Broken>,
}

/// One thing that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The invariant.
    pub invariant: &'static str,
    /// The member.
    pub node: usize,
    /// What is wrong.
    pub what: String,
}

/// All invariants of one run.
pub struct Watch {
    invariants: Vec<Box<dyn Invariant>>,
    liveness: Liveness,
    broken: Vec<Broken>,
}

impl Watch {
    /// Nothing has happened yet.
    pub fn new(federation: &Federation) -> Self {
        Self {
            invariants: vec![
                Box::<one_record_per_round::OneRecordPerRound>::default(),
                Box::<ledger_continuous::LedgerContinuous>::default(),
                Box::<quorum_is_real::QuorumIsReal>::default(),
                Box::<vote_once::VoteOnce>::default(),
                Box::<adopted_was_certified::AdoptedWasCertified>::default(),
                Box::<inputs_were_signed::InputsWereSigned>::default(),
                Box::<aggregate_reproducible::AggregateReproducible>::default(),
                Box::<counted_once::CountedOnce>::default(),
                Box::<roster_agreed::RosterAgreed>::default(),
                Box::<round_monotonic::RoundMonotonic>::default(),
                Box::<accused_lied::AccusedLied>::default(),
                Box::<everything_bounded::EverythingBounded>::default(),
            ],
            liveness: Liveness::new(federation),
            broken: Vec::new(),
        }
    }

    /// What holds of one member even where most of the others lie.
    pub fn of_one(federation: &Federation) -> Self {
        let invariants: Vec<Box<dyn Invariant>> = vec![
            Box::<vote_once::VoteOnce>::default(),
            Box::<round_monotonic::RoundMonotonic>::default(),
            Box::<everything_bounded::EverythingBounded>::default(),
        ];
        Self { invariants, ..Self::new(federation) }
    }

    /// An honest member did something.
    pub fn observe(&mut self, scene: &Scene<'_>, observation: &Observation<'_>) {
        for invariant in &mut self.invariants {
            if let Err(what) = invariant.observe(scene, observation) {
                let invariant = invariant.name();
                self.broken.push(Broken { invariant, node: scene.node, what });
            }
        }
        self.liveness.observe(scene, observation);
    }

    /// Something does not hold that has no file of its own.
    pub fn blame(&mut self, node: usize, invariant: &'static str, what: String) {
        self.broken.push(Broken { invariant, node, what });
    }

    /// From now on every honest member must make progress.
    pub fn expect_progress(&mut self, now: Time) {
        self.liveness.expect(now);
    }

    /// The longest an honest member took for a round after healing, in milliseconds.
    pub fn slowest_ms(&self) -> u64 {
        self.liveness.slowest_ms()
    }

    /// What did not hold since it was last asked.
    pub fn verdict(&mut self, now: Time) -> Result<(), Violation> {
        self.broken.extend(self.liveness.late(now));
        if self.broken.is_empty() {
            return Ok(());
        }
        Err(Violation { broken: std::mem::take(&mut self.broken) })
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Broken { invariant, node, what }) in self.broken.iter().enumerate() {
            let between = if index == 0 { "" } else { "; " };
            write!(f, "{between}{invariant} (member {node}): {what}")?;
        }
        Ok(())
    }
}
