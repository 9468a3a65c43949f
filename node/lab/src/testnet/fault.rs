//! Fault injection: which nodes are killed when, and when they return. Pure: a fault says what to
//! do, the testnet does it.

mod aggregator;
mod members;

use std::str::FromStr;

use witan_home::Failure;

use super::watch::Watch;
use crate::spec::{Spec, expect};
pub use aggregator::{AggregatorKill, Killed};
pub use members::{MemberKills, MembersKilled};

/// A fault that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultSpec {
    /// Kill the elected aggregator of this round once the updates are out; start it again after.
    Aggregator(u64),
    /// Kill members for good.
    Members(Kills),
}

/// So many members, killed for good in this round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kills {
    /// How many; the last ones of the roster.
    pub count: usize,
    /// In which round.
    pub round: u64,
}

/// A fault under way.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Of the aggregator.
    Aggregator(AggregatorKill),
    /// Of members.
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

impl FaultSpec {
    /// Checks that a testnet can have it.
    ///
    /// # Errors
    /// If there is no such round, or too few nodes.
    pub fn check(self, spec: &Spec) -> Result<(), Failure> {
        let (nodes, rounds) = (spec.cohort.nodes, spec.cohort.rounds);
        let hint = "it names one of the testnet's --rounds";
        match self {
            Self::Aggregator(round) => {
                let expected = format!("1 to {rounds}");
                let is_right = (1..=rounds).contains(&round);
                expect(is_right, ("kill-aggregator", round), &expected, hint)?;
                if nodes < AGGREGATOR_KILL_NODES_MIN {
                    let message = format!("--kill-aggregator: none of {nodes} nodes can be missed");
                    return Err(Failure::usage(message).hint("one can from --nodes 4 on"));
                }
                Ok(())
            }
            Self::Members(Kills { count, round }) => {
                let expected = format!("a round of 1 to {rounds}");
                let is_right = (1..=rounds).contains(&round);
                expect(is_right, ("kill", format!("…@{round}")), &expected, hint)?;
                let expected = format!("1 to {}", nodes - 1);
                let is_right = (1..nodes).contains(&count);
                let hint = "one node at least goes on";
                expect(is_right, ("kill", format!("{count}@…")), &expected, hint)
            }
        }
    }

    /// Begins it in a federation in which `quorum` votes decide.
    pub fn begin(self, quorum: usize) -> Fault {
        match self {
            Self::Aggregator(round) => Fault::Aggregator(AggregatorKill::new(round)),
            Self::Members(Kills { count, round }) => {
                Fault::Members(MemberKills::new(count, round, quorum))
            }
        }
    }
}

impl Fault {
    /// The next action, given what is seen; asked after every event.
    pub fn next(&mut self, watch: &Watch, now_ms: u64) -> Option<Action> {
        match self {
            Self::Aggregator(kill) => kill.next(watch, now_ms),
            Self::Members(kills) => kills.next(watch, now_ms),
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
    pub fn is_over(&self, watch: &Watch) -> bool {
        match self {
            Self::Aggregator(kill) => kill.is_over(watch),
            Self::Members(kills) => kills.is_over(watch),
        }
    }
}

impl FromStr for Kills {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('@').and_then(|(count, round)| {
            Some(Self { count: count.parse().ok()?, round: round.parse().ok()? })
        });
        parts.ok_or_else(|| "expected COUNT@ROUND, such as 5@2".to_owned())
    }
}

/// Of fewer, all must vote.
const AGGREGATOR_KILL_NODES_MIN: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kills_are_a_count_and_a_round() {
        assert_eq!("5@2".parse(), Ok(Kills { count: 5, round: 2 }));
        for bad in ["5", "5@", "@2", "x@2", "5@-1"] {
            assert!(bad.parse::<Kills>().is_err(), "{bad}");
        }
    }
}
