//! `--kill COUNT@ROUND`: members that are killed for good while a round runs. If the rest are too
//! few to decide, as many return as they need, once all of them have said that they are stalled.

use std::collections::BTreeSet;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use witan_home::Failure;

use super::Action;
use crate::spec::{Spec, expect};
use crate::testnet::watch::{NodeView, Watch};

/// The kills and how far they have come.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MemberKills {
    count: usize,
    round: u64,
    killed: usize,
    killed_ms: u64,
    stalled: Option<String>,
    returned: Vec<usize>,
    returned_ms: u64,
}

/// What became of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MembersKilled {
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

/// COUNT@ROUND: the last COUNT members of the roster, while ROUND runs.
impl FromStr for MemberKills {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.split_once('@').and_then(|(count, round)| {
            let (count, round) = (count.parse().ok()?, round.parse().ok()?);
            Some(Self { count, round, ..Self::default() })
        });
        parts.ok_or("expected COUNT@ROUND, such as 5@2")
    }
}

impl MemberKills {
    pub(super) fn check(&self, spec: &Spec) -> Result<(), Failure> {
        let (nodes, rounds) = (spec.cohort.nodes, spec.cohort.rounds);
        let expected = format!("a round of 1 to {rounds}");
        let is_right = (1..=rounds).contains(&self.round);
        let hint = "it names one of the testnet's --rounds";
        expect(is_right, ("kill", format!("…@{}", self.round)), &expected, hint)?;
        let (expected, hint) = (format!("1 to {}", nodes - 1), "one node at least goes on");
        let is_right = (1..nodes).contains(&self.count);
        expect(is_right, ("kill", format!("{}@…", self.count)), &expected, hint)
    }

    /// Whether the end of node `index` is their doing.
    pub fn is_victim(&self, index: usize, nodes: usize) -> bool {
        index >= nodes - self.killed
    }

    /// Whether nothing is left to do.
    pub fn is_over(&self, watch: &Watch, quorum: usize) -> bool {
        self.killed == self.count && self.missed(watch, quorum) == 0
    }

    /// The next action, given what is seen; asked after every event.
    pub fn next(&mut self, watch: &Watch, quorum: usize, now_ms: u64) -> Option<Action> {
        let nodes = watch.nodes.len();
        if watch.rounds.get(&self.round)?.began_ms == 0 {
            return None;
        }
        if self.killed < self.count {
            self.killed += 1;
            self.killed_ms = now_ms;
            return Some(Action::Kill(nodes - self.killed));
        }
        if self.missed(watch, quorum) == 0 || (self.stalled.is_none() && !self.all_miss_them(watch))
        {
            return None;
        }
        let votes = nodes - self.killed;
        self.stalled.get_or_insert(format!("{votes} of {} votes", quorum));
        let back = nodes - self.killed + self.returned.len();
        self.returned.push(back);
        self.returned_ms = now_ms;
        Some(Action::Restart(back))
    }

    /// What became of it; `None` if the round was never closed.
    pub fn report(&self, watch: &Watch) -> Option<MembersKilled> {
        let nodes = watch.nodes.len();
        let name = |index: usize| format!("node-{index:02}");
        let committed_ms = watch.rounds.get(&self.round)?.committed_ms?.0;
        let since_ms = self.killed_ms.max(self.returned_ms);
        Some(MembersKilled {
            round: self.round,
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
    fn missed(&self, watch: &Watch, quorum: usize) -> usize {
        quorum.saturating_sub(watch.nodes.len() - self.killed + self.returned.len())
    }
}

impl MembersKilled {
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
    use crate::event::Event;
    use crate::testnet::watch::RoundView;

    fn ended(node: usize) -> Event {
        Event::Ended { node, code: None, stderr: String::new() }
    }

    /// Six nodes of which four decide, all alive, in round 2.
    fn watch() -> Watch {
        let mut watch = Watch::new((0..6).map(|n| MemberId([n; 32])).collect());
        (0..6).for_each(|node| watch.observe(&Event::Started { node }));
        let begun = RoundView { began_ms: 1, ..RoundView::default() };
        watch.rounds.insert(Round(2).0, begun);
        watch
    }

    #[test]
    fn the_last_members_die_once_the_round_has_begun() {
        let mut kills = "2@2".parse::<MemberKills>().unwrap();
        let mut watch = watch();
        assert_eq!(kills.next(&watch, 4, 5), Some(Action::Kill(5)));
        assert_eq!(kills.next(&watch, 4, 6), Some(Action::Kill(4)));
        (4..6).for_each(|node| watch.observe(&ended(node)));
        assert_eq!(kills.next(&watch, 4, 7), None, "four are enough");
        assert!(kills.is_over(&watch, 4) && kills.is_victim(4, 6) && !kills.is_victim(3, 6));
    }

    #[test]
    fn one_returns_when_the_rest_are_too_few_and_all_have_said_so() {
        let mut kills = "3@2".parse::<MemberKills>().unwrap();
        let mut watch = watch();
        for victim in [5, 4, 3] {
            assert_eq!(kills.next(&watch, 4, 5), Some(Action::Kill(victim)));
            watch.observe(&ended(victim));
        }
        let stalled = Some((4, (3..6).map(|n| MemberId([n; 32])).collect::<Vec<_>>()));
        watch.nodes[0].stalled.clone_from(&stalled);
        watch.nodes[1].stalled.clone_from(&stalled);
        assert_eq!(kills.next(&watch, 4, 6), None, "node-02 has not said so");
        watch.nodes[2].stalled = stalled;
        assert_eq!(kills.next(&watch, 4, 7), Some(Action::Restart(3)));
        watch.observe(&Event::Started { node: 3 });
        assert_eq!(kills.next(&watch, 4, 8), None);
        assert!(kills.is_over(&watch, 4));
        watch.rounds.get_mut(&2).unwrap().committed_ms = Some((2_007, 2_010));
        let report = kills.report(&watch).unwrap();
        assert_eq!(report.stalled.as_deref(), Some("3 of 4 votes"));
        assert_eq!(
            (&report.returned[..], report.closed_after_s),
            (&["node-03".to_owned()][..], 2.0)
        );
    }

    #[test]
    fn kills_are_a_count_and_a_round() {
        let kills = MemberKills { count: 5, round: 2, ..MemberKills::default() };
        assert_eq!("5@2".parse(), Ok(kills));
        for bad in ["5", "5@", "@2", "x@2", "5@-1"] {
            assert!(bad.parse::<MemberKills>().is_err(), "{bad}");
        }
    }
}
