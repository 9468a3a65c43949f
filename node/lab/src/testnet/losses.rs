//! `--kill COUNT@ROUND`: members that die for good while a round runs. If the rest are too few to
//! decide, so many come back as they need, once all of them have said that they are stalled. Pure: it
//! says what to do, the launcher does it.

use std::collections::BTreeSet;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use witan_home::Failure;

use super::prepare::Plan;
use super::strike::Order;
use super::watch::{NodeView, Watch};

/// How many members die in which round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Toll {
    /// How many; the last ones of the roster.
    pub count: usize,
    /// In which round.
    pub round: u64,
}

/// A planned loss and how far it has come.
#[derive(Clone, Debug)]
pub struct Losses {
    toll: Toll,
    quorum: usize,
    killed: usize,
    killed_ms: u64,
    stalled: Option<String>,
    returned: Vec<usize>,
    returned_ms: u64,
}

/// What became of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LossReport {
    /// The round.
    pub round: u64,
    /// Who was killed.
    pub killed: Vec<String>,
    /// What the rest said if they were too few, such as "10 of 11 votes".
    pub stalled: Option<String>,
    /// Who was started again because the rest needed them.
    pub returned: Vec<String>,
    /// Seconds from the last kill, or from the return, to the first commit of the round.
    pub closed_after_s: f64,
}

impl FromStr for Toll {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('@').and_then(|(count, round)| {
            Some(Self { count: count.parse().ok()?, round: round.parse().ok()? })
        });
        parts.ok_or_else(|| "expected COUNT@ROUND, such as 5@2".to_owned())
    }
}

impl Toll {
    /// Whether the planned testnet can have it.
    ///
    /// # Errors
    /// If there is no such round, or nobody would be left or killed.
    pub fn check(self, plan: &Plan) -> Result<(), Failure> {
        if !(1..=plan.rounds).contains(&self.round) {
            let expected =
                format!("--kill …@{}: expected a round of 1 to {}", self.round, plan.rounds);
            return Err(Failure::usage(expected).hint("it names one of the testnet's --rounds"));
        }
        if !(1..plan.nodes).contains(&self.count) {
            let expected = format!("--kill {}@…: expected 1 to {}", self.count, plan.nodes - 1);
            return Err(Failure::usage(expected).hint("one node at least goes on"));
        }
        Ok(())
    }
}

impl Losses {
    /// The loss of some of the members of a federation in which `quorum` votes decide.
    pub fn new(toll: Toll, quorum: usize) -> Self {
        let (killed, killed_ms, returned_ms) = (0, 0, 0);
        Self { toll, quorum, killed, killed_ms, stalled: None, returned: Vec::new(), returned_ms }
    }

    /// Whether the end of node `index` is this loss's doing.
    pub fn is_victim(&self, index: usize, nodes: usize) -> bool {
        index >= nodes - self.killed
    }

    /// Whether nothing is left to do.
    pub fn is_over(&self, watch: &Watch) -> bool {
        self.killed == self.toll.count && self.missed(watch) == 0
    }

    /// The next order, given what is seen; asked after every event.
    pub fn next(&mut self, watch: &Watch, now_ms: u64) -> Option<Order> {
        let nodes = watch.nodes.len();
        if watch.rounds.get(&self.toll.round)?.began_ms == 0 {
            return None;
        }
        if self.killed < self.toll.count {
            self.killed += 1;
            self.killed_ms = now_ms;
            return Some(Order::Kill(nodes - self.killed));
        }
        if self.missed(watch) == 0 || (self.stalled.is_none() && !self.all_miss_them(watch)) {
            return None;
        }
        let votes = nodes - self.killed;
        self.stalled.get_or_insert(format!("{votes} of {} votes", self.quorum));
        let back = nodes - self.killed + self.returned.len();
        self.returned.push(back);
        self.returned_ms = now_ms;
        Some(Order::Restart(back))
    }

    /// What became of it; `None` if the round was never closed.
    pub fn report(&self, watch: &Watch) -> Option<LossReport> {
        let nodes = watch.nodes.len();
        let name = |index: usize| format!("node-{index:02}");
        let committed_ms = watch.rounds.get(&self.toll.round)?.committed_ms?.0;
        let since_ms = self.killed_ms.max(self.returned_ms);
        Some(LossReport {
            round: self.toll.round,
            killed: (nodes - self.killed..nodes).map(name).collect(),
            stalled: self.stalled.clone(),
            returned: self.returned.iter().copied().map(name).collect(),
            closed_after_s: committed_ms.saturating_sub(since_ms) as f64 / 1000.0,
        })
    }

    /// Whether all that live say that they are stalled for lack of those killed. While nodes start
    /// they may miss others, and say that.
    fn all_miss_them(&self, watch: &Watch) -> bool {
        let victims = watch.nodes.len() - self.killed..watch.nodes.len();
        let misses_them = |node: &NodeView| {
            let Some((_, missing)) = &node.stalled else { return false };
            let missing: BTreeSet<_> = missing.iter().map(|who| watch.index_of(who)).collect();
            missing == victims.clone().map(Some).collect()
        };
        let mut living = watch.nodes.iter().filter(|node| node.alive);
        watch.nodes[victims.clone()].iter().all(|node| !node.alive) && living.all(misses_them)
    }

    /// How many more the rest need to decide.
    fn missed(&self, watch: &Watch) -> usize {
        self.quorum.saturating_sub(watch.nodes.len() - self.killed + self.returned.len())
    }
}

impl LossReport {
    /// A sentence or two.
    pub fn to_text(&self) -> String {
        let (round, killed) = (self.round, self.killed.join(", "));
        let mut text = format!("{killed} were killed for good in round {round}");
        if let Some(votes) = &self.stalled {
            let returned = self.returned.join(", ");
            text += &format!(";\nit stalled with {votes} until {returned} returned");
        }
        text + &format!("; it closed {:.1} s later\n", self.closed_after_s)
    }
}

#[cfg(test)]
mod tests {
    use witan_protocol::member::{MemberId, Round};

    use super::*;
    use crate::testnet::watch::RoundView;

    /// Six nodes of which four decide, all alive, in round 2.
    fn watch() -> Watch {
        let mut watch = Watch::new((0..6).map(|n| MemberId([n; 32])).collect());
        (0..6).for_each(|index| watch.started(index));
        let begun = RoundView { began_ms: 1, ..RoundView::default() };
        watch.rounds.insert(Round(2).0, begun);
        watch
    }

    #[test]
    fn the_last_members_die_once_the_round_has_begun() {
        let mut losses = Losses::new("2@2".parse().unwrap(), 4);
        let mut watch = watch();
        assert_eq!(losses.next(&watch, 5), Some(Order::Kill(5)));
        assert_eq!(losses.next(&watch, 6), Some(Order::Kill(4)));
        (4..6).for_each(|index| watch.ended(index));
        assert_eq!(losses.next(&watch, 7), None, "four are enough");
        assert!(losses.is_over(&watch) && losses.is_victim(4, 6) && !losses.is_victim(3, 6));
    }

    #[test]
    fn one_returns_when_the_rest_are_too_few_and_all_have_said_so() {
        let mut losses = Losses::new("3@2".parse().unwrap(), 4);
        let mut watch = watch();
        for victim in [5, 4, 3] {
            assert_eq!(losses.next(&watch, 5), Some(Order::Kill(victim)));
            watch.ended(victim);
        }
        let stalled = Some((4, (3..6).map(|n| MemberId([n; 32])).collect::<Vec<_>>()));
        watch.nodes[0].stalled.clone_from(&stalled);
        watch.nodes[1].stalled.clone_from(&stalled);
        assert_eq!(losses.next(&watch, 6), None, "node-02 has not said so");
        watch.nodes[2].stalled = stalled;
        assert_eq!(losses.next(&watch, 7), Some(Order::Restart(3)));
        watch.started(3);
        assert_eq!(losses.next(&watch, 8), None);
        assert!(losses.is_over(&watch));
        watch.rounds.get_mut(&2).unwrap().committed_ms = Some((2_007, 2_010));
        let report = losses.report(&watch).unwrap();
        assert_eq!(report.stalled.as_deref(), Some("3 of 4 votes"));
        assert_eq!(
            (&report.returned[..], report.closed_after_s),
            (&["node-03".to_owned()][..], 2.0)
        );
    }

    #[test]
    fn a_toll_is_a_count_and_a_round() {
        assert_eq!("5@2".parse(), Ok(Toll { count: 5, round: 2 }));
        for bad in ["5", "5@", "@2", "x@2", "5@-1"] {
            assert!(bad.parse::<Toll>().is_err(), "{bad}");
        }
    }
}
