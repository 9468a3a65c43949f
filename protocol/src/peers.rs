//! Which members are reachable: connections, and when each was last heard from. Decides who is
//! waited for.

use std::collections::{BTreeMap, BTreeSet};

use crate::io::Time;
use crate::member::MemberId;

/// Which other members are connected, and when each was last heard from.
#[derive(Clone, Debug)]
pub(crate) struct Peers {
    connected: BTreeSet<MemberId>,
    heard: BTreeMap<MemberId, Time>,
    since: Time,
    next: usize,
}

impl Peers {
    /// No member yet.
    pub(crate) fn new(now: Time) -> Self {
        Self { connected: BTreeSet::new(), heard: BTreeMap::new(), since: now, next: 0 }
    }

    /// A member was connected.
    pub(crate) fn on_connected(&mut self, member: MemberId, now: Time) {
        self.connected.insert(member);
        self.heard.insert(member, now);
    }

    /// A member's last connection closed; the grace starts now.
    pub(crate) fn on_disconnected(&mut self, member: MemberId, now: Time) {
        self.connected.remove(&member);
        self.heard.insert(member, now);
    }

    /// A message arrived that only this member can have sent just now.
    pub(crate) fn on_heard(&mut self, member: MemberId, now: Time) {
        self.heard.insert(member, now);
    }

    /// Members connected directly.
    pub(crate) fn connected(&self) -> &BTreeSet<MemberId> {
        &self.connected
    }

    /// Whether a member is worth waiting for: connected, heard from a moment ago, or not met yet by
    /// a node that has only just started.
    pub(crate) fn is_live(&self, member: &MemberId, now: Time) -> bool {
        let within = |from: Time, ms: u64| now.0.saturating_sub(from.0) < ms;
        self.connected.contains(member)
            || self.heard.get(member).is_some_and(|at| within(*at, GRACE_MS))
            || (!self.heard.contains_key(member) && within(self.since, FIRST_MEETING_MS))
    }

    /// The next few connected members, round robin.
    pub(crate) fn next_round_robin(&mut self, count: usize) -> Vec<MemberId> {
        let size = self.connected.len();
        if size == 0 {
            return Vec::new();
        }
        let first = self.next % size;
        self.next = (first + count) % size;
        self.connected.iter().cycle().skip(first).take(count.min(size)).copied().collect()
    }
}

/// How long a member that vanished is waited for: a reconnection takes less.
const GRACE_MS: u64 = 1000;

/// How long a member not met yet is waited for after the start of the node.
const FIRST_MEETING_MS: u64 = 5000;
