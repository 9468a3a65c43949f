//! How long a view waits, and which timeouts are running.
//!
//! All derive from one setting, `council.view_timeout_ms`, and from how long this member's own
//! aggregation took: a slow machine must not give up on an aggregator that is as slow. Each later
//! view waits longer, so that members with unequal clocks meet in one.

use arc_malachitebft_core_types::{Timeout, TimeoutKind};

use super::context::view_of;
use crate::io::Time;

/// The timeouts of one round.
#[derive(Clone, Debug)]
pub(super) struct Timers {
    view_timeout_ms: u64,
    work_ms: u64,
    running: Vec<(Time, Timeout)>,
}

impl Timers {
    /// None running.
    pub(super) fn new(view_timeout_ms: u64) -> Self {
        Self { view_timeout_ms, work_ms: 0, running: Vec::new() }
    }

    /// How long one aggregation takes here; timeouts that start from now on allow for two.
    pub(super) fn allow_for_work(&mut self, work_ms: u64) {
        self.work_ms = self.work_ms.max(work_ms.min(WORK_MS_MAX));
    }

    /// Starts a timeout, unless it is of a kind that is not used here.
    pub(super) fn start(&mut self, now: Time, timeout: Timeout) {
        let (base, view) = (self.view_timeout_ms, u64::from(view_of(timeout.round).0));
        let wait = match timeout.kind {
            TimeoutKind::Propose => base + 2 * self.work_ms,
            TimeoutKind::Prevote | TimeoutKind::Precommit => base / 2,
            TimeoutKind::Rebroadcast | TimeoutKind::FinalizeHeight(_) => return,
        };
        let longer = (base / 2).saturating_mul(view.min(VIEWS_LONGER_MAX));
        self.cancel(timeout);
        self.running.push((Time(now.0 + wait + longer), timeout));
    }

    /// Stops a timeout.
    pub(super) fn cancel(&mut self, timeout: Timeout) {
        self.running.retain(|(_, running)| *running != timeout);
    }

    /// Stops all timeouts.
    pub(super) fn clear(&mut self) {
        self.running.clear();
    }

    /// The earliest timeout that is due, if one is.
    pub(super) fn pop(&mut self, now: Time) -> Option<Timeout> {
        let (index, _) = self
            .running
            .iter()
            .enumerate()
            .filter(|(_, (at, _))| *at <= now)
            .min_by_key(|(_, (at, _))| *at)?;
        Some(self.running.remove(index).1)
    }

    /// How many are running.
    pub(super) fn len(&self) -> usize {
        self.running.len()
    }

    /// When the next timeout is due.
    pub(super) fn next(&self) -> Option<Time> {
        self.running.iter().map(|(at, _)| *at).min()
    }
}

/// Timeouts stop growing after so many views: members that can meet again do so soon.
const VIEWS_LONGER_MAX: u64 = 20;

/// An aggregation that takes longer than this is stuck and not worth waiting for.
const WORK_MS_MAX: u64 = 60_000;
