//! Fault injection: which nodes are killed when, and when they return. Pure: a fault says what to
//! do, the testnet does it.

mod aggregator;
mod members;

use witan_home::Failure;

use super::watch::Watch;
use crate::spec::Spec;
pub use aggregator::{AggregatorKill, Killed};
pub use members::{MemberKills, MembersKilled};

/// A fault that is asked for, and how far it has come.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The elected aggregator of a round is killed once the updates are out, and returns after.
    Aggregator(AggregatorKill),
    /// Members are killed for good.
    Members(MemberKills),
}

/// What is to be done to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Stop its process without ending it.
    Pause(usize),
    /// SIGKILL.
    Kill(usize),
    /// Start it again.
    Restart(usize),
}

impl Fault {
    /// Checks that a testnet can have it.
    ///
    /// # Errors
    /// If there is no such round, or too few nodes.
    pub fn check(&self, spec: &Spec) -> Result<(), Failure> {
        match self {
            Self::Aggregator(kill) => kill.check(spec),
            Self::Members(kills) => kills.check(spec),
        }
    }

    /// The next action, given what is seen; asked after every event;
    /// `quorum` votes decide.
    pub fn next(&mut self, watch: &Watch, quorum: usize, now_ms: u64) -> Option<Action> {
        match self {
            Self::Aggregator(kill) => kill.next(watch, now_ms),
            Self::Members(kills) => kills.next(watch, quorum, now_ms),
        }
    }

    /// Whether the end of a node is its doing.
    pub fn is_victim(&self, index: usize, nodes: usize) -> bool {
        match self {
            Self::Aggregator(kill) => kill.is_victim(index),
            Self::Members(kills) => kills.is_victim(index, nodes),
        }
    }

    /// The node whose process is stopped without having ended.
    pub fn paused(&self) -> Option<usize> {
        match self {
            Self::Aggregator(kill) => kill.paused(),
            Self::Members(_) => None,
        }
    }

    /// Whether nothing is left to do.
    pub fn is_over(&self, watch: &Watch, quorum: usize) -> bool {
        match self {
            Self::Aggregator(kill) => kill.is_over(watch),
            Self::Members(kills) => kills.is_over(watch, quorum),
        }
    }
}
