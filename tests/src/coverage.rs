//! Which faults really happened in a run, whatever was planned.

use std::collections::BTreeMap;
use std::fmt;

use crate::lies::Lie;

/// Faults that really happened in a run, whatever was planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Seen {
    /// A message was lost.
    Loss,
    /// A message arrived ten times as late as others.
    LateMessage,
    /// A message arrived twice.
    Duplication,
    /// A message overtook one sent before it.
    Reordering,
    /// A cut stopped a message.
    Partition,
    /// A one-way cut stopped a message.
    OneWayPartition,
    /// A member died between two inputs.
    Crash,
    /// A member died between two outputs of one input.
    CrashBetweenOutputs,
    /// A member died just before something became durable.
    CrashBeforePersist,
    /// A member died just after something became durable.
    CrashAfterPersist,
    /// A member started again.
    Restart,
    /// A slow member trained.
    SlowTrainer,
    /// A member could not train.
    TrainFailed,
    /// A view ended without a decision.
    ViewFailed,
    /// A member caught up by a certified record.
    CaughtUp,
    /// A member reported that too few members are reachable.
    Stalled,
    /// Rounds were left to decide when everything was well again.
    HealedInTime,
    /// A late update counted.
    LateUpdate,
    /// A liar did this.
    Lie(Lie),
}

/// How often each fault happened in one run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage(BTreeMap<Seen, u64>);

impl Coverage {
    /// It happened.
    pub fn saw(&mut self, seen: Seen) {
        *self.0.entry(seen).or_default() += 1;
    }

    /// What happened, how often.
    pub fn iter(&self) -> impl Iterator<Item = (Seen, u64)> {
        self.0.iter().map(|(seen, times)| (*seen, *times))
    }

    /// Adds one run: each fault it saw counts once.
    pub fn add_run(&mut self, run: &Coverage) {
        run.0.keys().for_each(|seen| self.saw(*seen));
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Seen::Lie(lie) => write!(f, "lie: {lie}"),
            Seen::Loss => f.write_str("message lost"),
            Seen::LateMessage => f.write_str("message very late"),
            Seen::Duplication => f.write_str("message doubled"),
            Seen::Reordering => f.write_str("message overtaken"),
            Seen::Partition => f.write_str("partition"),
            Seen::OneWayPartition => f.write_str("one-way partition"),
            Seen::Crash => f.write_str("crash between inputs"),
            Seen::CrashBetweenOutputs => f.write_str("crash between outputs"),
            Seen::CrashBeforePersist => f.write_str("crash before persist"),
            Seen::CrashAfterPersist => f.write_str("crash after persist"),
            Seen::Restart => f.write_str("restart"),
            Seen::SlowTrainer => f.write_str("slow trainer"),
            Seen::TrainFailed => f.write_str("training failed"),
            Seen::ViewFailed => f.write_str("view failed"),
            Seen::CaughtUp => f.write_str("caught up by record"),
            Seen::Stalled => f.write_str("stalled"),
            Seen::HealedInTime => f.write_str("rounds left at healing"),
            Seen::LateUpdate => f.write_str("late update counted"),
        }
    }
}
