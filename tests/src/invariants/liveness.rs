//! After healing, every honest member commits a new round within so many view timeouts, again and
//! again until the last.

use std::collections::BTreeMap;

use witan_protocol::federation::Federation;
use witan_protocol::io::Time;
use witan_protocol::member::Round;

use super::{Broken, Observation, Scene};

/// When each honest member was last seen to move on.
pub(super) struct Liveness {
    within_ms: u64,
    rounds: u64,
    healed: Option<Time>,
    moved: BTreeMap<usize, (Round, Time)>,
    slowest_ms: u64,
}

impl Liveness {
    /// Nothing is expected yet.
    pub(super) fn new(federation: &Federation) -> Self {
        Self {
            within_ms: progress_within_ms(federation),
            rounds: federation.document().training.rounds,
            healed: None,
            moved: BTreeMap::new(),
            slowest_ms: 0,
        }
    }

    /// From now on it is.
    pub(super) fn expect(&mut self, now: Time) {
        self.healed = Some(now);
        for (_, at) in self.moved.values_mut() {
            *at = now;
        }
    }

    /// An honest member did something.
    pub(super) fn observe(&mut self, scene: &Scene<'_>, observation: &Observation<'_>) {
        if let Observation::Settled { status, .. } = observation {
            let now = (status.round, scene.now);
            let (round, at) = self.moved.entry(scene.node).or_insert(now);
            if *round < status.round {
                if self.healed.is_some() {
                    self.slowest_ms = self.slowest_ms.max(scene.now.0 - at.0);
                }
                (*round, *at) = now;
            }
        }
    }

    /// The longest an honest member took for a round after healing.
    pub(super) fn slowest_ms(&self) -> u64 {
        self.slowest_ms
    }

    /// Who should have moved on by now and has not.
    pub(super) fn late(&self, now: Time) -> Option<Broken> {
        self.healed?;
        let (node, (round, at)) = self
            .moved
            .iter()
            .find(|(_, (round, at))| round.0 <= self.rounds && now.0 > at.0 + self.within_ms)?;
        let what = format!("in round {round} since {} ms, {} ms ago", at.0, now.0 - at.0);
        Some(Broken { invariant: "liveness", node: *node, what })
    }
}

/// How long a round may take once everything is well: its deadline, and so many view timeouts.
pub fn progress_within_ms(federation: &Federation) -> u64 {
    let council = &federation.document().council;
    council.round_deadline_s * 1000 + VIEW_TIMEOUTS * council.view_timeout_ms
}

/// As many liars as there may be lead the next views, each of which waits longer than the one
/// before; and the views of before the healing made the waits longer already.
const VIEW_TIMEOUTS: u64 = 60;
