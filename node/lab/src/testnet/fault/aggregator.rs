//! `--kill-aggregator`: kills the elected aggregator once the updates of its round are out, and
//! starts it again once the round is closed. The victim is first paused (its update is out and
//! somebody holds its delta), so that it cannot close the round in the moment between the last
//! update and the kill.

use serde::{Deserialize, Serialize};
use witan_home::Failure;
use witan_protocol::member::View;

use super::Action;
use crate::spec::{Spec, expect};
use crate::testnet::watch::Watch;

/// The kill and how far it has come.
#[derive(Clone, Debug)]
pub struct AggregatorKill {
    round: u64,
    stage: Stage,
}

/// What became of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Killed {
    /// The round.
    pub round: u64,
    /// The killed aggregator.
    pub node: String,
    /// The view that closed the round.
    pub view: u32,
    /// Seconds from the kill to the first commit.
    pub closed_after_s: f64,
    /// Nodes that trained this round a second time: none.
    pub retrained: usize,
    /// Whether the node, started again, ended with every round.
    pub rejoined: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Waiting,
    Paused { victim: usize },
    Killed { victim: usize, at_ms: u64 },
    Restarted { victim: usize, at_ms: u64 },
}

impl AggregatorKill {
    /// The kill of the aggregator of `round`.
    pub fn new(round: u64) -> Self {
        Self { round, stage: Stage::Waiting }
    }

    pub(super) fn check(&self, spec: &Spec) -> Result<(), Failure> {
        let (nodes, rounds) = (spec.cohort.nodes, spec.cohort.rounds);
        let (expected, hint) = (format!("1 to {rounds}"), "it names one of the testnet's --rounds");
        let is_right = (1..=rounds).contains(&self.round);
        expect(is_right, ("kill-aggregator", self.round), &expected, hint)?;
        if nodes < NODES_MIN {
            let message = format!("--kill-aggregator: none of {nodes} nodes can be missed");
            return Err(Failure::usage(message).hint("one can from --nodes 4 on"));
        }
        Ok(())
    }

    /// What became of it; none if nobody was killed, or the round is not closed.
    pub fn report(&self, watch: &Watch) -> Option<Killed> {
        let (victim, at_ms) = self.victim()?;
        let round = watch.rounds.get(&self.round)?;
        Some(Killed {
            round: self.round,
            node: format!("node-{victim:02}"),
            view: round.view?.0.0,
            closed_after_s: round.committed_ms?.0.saturating_sub(at_ms) as f64 / 1000.0,
            retrained: round.trainings.values().filter(|count| **count > 1).count(),
            rejoined: watch.nodes[victim].finished,
        })
    }

    /// The killed node and when, once it is.
    fn victim(&self) -> Option<(usize, u64)> {
        match self.stage {
            Stage::Waiting | Stage::Paused { .. } => None,
            Stage::Killed { victim, at_ms } | Stage::Restarted { victim, at_ms } => {
                Some((victim, at_ms))
            }
        }
    }

    /// The node whose process is stopped without having ended.
    pub fn paused(&self) -> Option<usize> {
        match self.stage {
            Stage::Paused { victim } => Some(victim),
            _ => None,
        }
    }

    /// Whether nothing is left to do, or nothing can be done any more.
    pub fn is_over(&self, watch: &Watch) -> bool {
        let is_past = watch.newest_round() > self.round || watch.is_finished();
        match self.stage {
            Stage::Waiting | Stage::Paused { .. } => is_past,
            Stage::Killed { .. } => false,
            Stage::Restarted { .. } => true,
        }
    }

    /// Whether the end of node `index` is this kill's doing.
    pub fn is_victim(&self, index: usize) -> bool {
        matches!(self.stage, Stage::Killed { victim, .. } if victim == index)
    }

    /// The next action, given what is seen; asked after every event.
    pub fn next(&mut self, watch: &Watch, now_ms: u64) -> Option<Action> {
        let round = watch.rounds.get(&self.round)?;
        match self.stage {
            Stage::Waiting => {
                let (view, aggregator) = round.view?;
                let victim = watch.index_of(&aggregator)?;
                let delta = round.deltas.get(&aggregator)?;
                let is_held = round.holders.get(delta).copied().unwrap_or(0) > 0;
                (view == View(0) && is_held && round.outcome.is_none()).then(|| {
                    self.stage = Stage::Paused { victim };
                    Action::Pause(victim)
                })
            }
            Stage::Paused { victim } => {
                let alive = watch.nodes.iter().filter(|node| node.alive).count();
                (round.updates.len() >= alive).then(|| {
                    self.stage = Stage::Killed { victim, at_ms: now_ms };
                    Action::Kill(victim)
                })
            }
            Stage::Killed { victim, at_ms } => {
                let is_dead = !watch.nodes[victim].alive;
                (is_dead && round.outcome.is_some()).then(|| {
                    self.stage = Stage::Restarted { victim, at_ms };
                    Action::Restart(victim)
                })
            }
            Stage::Restarted { .. } => None,
        }
    }
}

/// Of fewer, all must vote.
const NODES_MIN: usize = 4;
