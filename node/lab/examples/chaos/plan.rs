//! What is done to whom and when: all of it from one seed.

use std::fmt;

/// What is done to a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blow {
    /// SIGKILL; started again after.
    Kill,
    /// The elected aggregator of the round, whoever it is: SIGKILL; started again after.
    KillAggregator,
    /// SIGSTOP, SIGCONT after: slow, not dead.
    Freeze,
    /// Its bytes wait, both ways.
    Silence,
    /// Its connections break and none is made.
    Cut,
}

/// One blow.
#[derive(Clone, Debug)]
pub(crate) struct Act {
    /// The round in which it comes.
    pub round: u64,
    /// So long after somebody began the round.
    pub after_ms: u64,
    /// What.
    pub blow: Blow,
    /// Whom, unless the elected aggregator.
    pub node: usize,
    /// How long it lasts.
    pub lasts_ms: u64,
}

/// Every act in order; the member that lies is not hit.
pub(crate) fn plan(liar: usize, nodes: usize, rounds: u64, seed: u64) -> Vec<Act> {
    let mut dice = Dice::of(seed);
    let mut acts = Vec::new();
    for round in 1..=rounds {
        for _ in 0..1 + dice.below(ACTS_MAX) {
            let blow = BLOWS[dice.below(BLOWS.len() as u64) as usize];
            let node = (liar + 1 + dice.below(nodes as u64 - 1) as usize) % nodes;
            let (after_ms, lasts_ms) = (dice.below(3_000), 1_000 + dice.below(6_000));
            acts.push(Act { round, after_ms, blow, node, lasts_ms });
        }
    }
    acts.sort_by_key(|act| (act.round, act.after_ms));
    acts
}

impl fmt::Display for Blow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Blow::Kill => "SIGKILL, restart",
            Blow::KillAggregator => "SIGKILL of the aggregator, restart",
            Blow::Freeze => "SIGSTOP, SIGCONT",
            Blow::Silence => "line silent",
            Blow::Cut => "line cut",
        })
    }
}

/// Numbers from a seed.
struct Dice(blake3::OutputReader);

impl Dice {
    fn of(seed: u64) -> Self {
        Self(blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof())
    }

    fn below(&mut self, bound: u64) -> u64 {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        u64::from_le_bytes(bytes) % bound
    }
}

/// Acts in one round, at most.
const ACTS_MAX: u64 = 3;

const BLOWS: [Blow; 5] = [Blow::Kill, Blow::KillAggregator, Blow::Freeze, Blow::Silence, Blow::Cut];
