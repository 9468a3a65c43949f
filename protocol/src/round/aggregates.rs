//! Aggregations by their inputs: the same inputs are never computed twice.

use crate::io::{Aggregate, AggregateInput, JobId, Output, Time};
use crate::ledger::Tip;
use crate::member::MemberId;
use crate::outbox::Outbox;

/// The result of an aggregation: its stored aggregate, or whose deltas are unusable, and why.
pub(super) type Outcome = Result<Aggregate, Vec<(MemberId, String)>>;

/// The aggregations of a round.
#[derive(Debug, Default)]
pub(super) struct Aggregates {
    running: Vec<Running>,
    done: Vec<(Vec<AggregateInput>, Outcome)>,
}

#[derive(Debug)]
struct Running {
    job: JobId,
    since: Time,
    inputs: Vec<AggregateInput>,
}

impl Aggregates {
    /// Asks for an aggregation, unless it runs or is done.
    pub(super) fn ask(
        &mut self,
        now: Time,
        outbox: &mut Outbox,
        tip: &Tip,
        inputs: Vec<AggregateInput>,
    ) {
        let runs = self.running.iter().any(|running| running.inputs == inputs);
        if runs || self.is_done(&inputs) || self.running.len() >= RUNNING_MAX {
            return;
        }
        let (job, round, start) = (outbox.job(), tip.round, tip.adapter);
        outbox.push(Output::Aggregate { job, round, start, inputs: inputs.clone() });
        self.running.push(Running { job, since: now, inputs });
    }

    /// An aggregation is done; returns how long it took, in milliseconds.
    pub(super) fn on_done(&mut self, now: Time, job: JobId, outcome: Outcome) -> Option<u64> {
        let index = self.running.iter().position(|running| running.job == job)?;
        let running = self.running.remove(index);
        if self.done.len() >= DONE_MAX {
            drop(self.done.remove(0));
        }
        self.done.push((running.inputs, outcome));
        Some(now.0.saturating_sub(running.since.0))
    }

    /// The inputs of an aggregation that runs.
    pub(super) fn inputs(&self, job: JobId) -> Option<&[AggregateInput]> {
        let running = self.running.iter().find(|running| running.job == job);
        running.map(|running| running.inputs.as_slice())
    }

    /// How many are running or done.
    pub(super) fn len(&self) -> usize {
        self.running.len() + self.done.len()
    }

    /// Whether the outcome is known.
    pub(super) fn is_done(&self, inputs: &[AggregateInput]) -> bool {
        self.outcome(inputs).is_some()
    }

    /// The outcome, once known.
    pub(super) fn outcome(&self, inputs: &[AggregateInput]) -> Option<&Outcome> {
        self.done.iter().find(|(done, _)| done == inputs).map(|(_, outcome)| outcome)
    }
}

/// Results kept: for all sets of inputs that proposals of the newest views may have.
const DONE_MAX: usize = 32;

/// Aggregations at once: this member's own and those of a few proposals. Others are asked for
/// later.
const RUNNING_MAX: usize = 4;
