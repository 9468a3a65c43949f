//! Who is there: connections, and when each member was last heard. Decides who is waited for.

use std::collections::{BTreeMap, BTreeSet};

use crate::io::Time;
use crate::member::MemberId;

/// What is known of the other members' presence.
#[derive(Clone, Debug)]
pub struct Peers {
    connected: BTreeSet<MemberId>,
    heard: BTreeMap<MemberId, Time>,
    since: Time,
    turn: usize,
}

impl Peers {
    /// Nobody is there yet.
    pub fn new(now: Time) -> Self {
        Self { connected: BTreeSet::new(), heard: BTreeMap::new(), since: now, turn: 0 }
    }

    /// A member was connected.
    pub fn on_connected(&mut self, member: MemberId, now: Time) {
        self.connected.insert(member);
        self.heard.insert(member, now);
    }

    /// A member's last connection closed; the grace starts now.
    pub fn on_disconnected(&mut self, member: MemberId, now: Time) {
        self.connected.remove(&member);
        self.heard.insert(member, now);
    }

    /// Something only this member can just have sent arrived.
    pub fn on_heard(&mut self, member: MemberId, now: Time) {
        self.heard.insert(member, now);
    }

    /// Members connected directly.
    pub fn connected(&self) -> &BTreeSet<MemberId> {
        &self.connected
    }

    /// Whether a member is worth waiting for: connected, heard of a moment ago, or the node has
    /// only just started and could not have met it yet.
    pub fn is_live(&self, member: &MemberId, now: Time) -> bool {
        let within = |from: Time, ms: u64| now.0.saturating_sub(from.0) < ms;
        self.connected.contains(member)
            || self.heard.get(member).is_some_and(|at| within(*at, GRACE_MS))
            || (!self.heard.contains_key(member) && within(self.since, FIRST_MEETING_MS))
    }

    /// The next few connected members, each in its turn.
    pub fn next_turn(&mut self, count: usize) -> Vec<MemberId> {
        let size = self.connected.len();
        if size == 0 {
            return Vec::new();
        }
        let first = self.turn % size;
        self.turn = (first + count) % size;
        self.connected.iter().cycle().skip(first).take(count.min(size)).copied().collect()
    }
}

/// How long a member that vanished is waited for: a reconnection takes less.
const GRACE_MS: u64 = 1000;

/// How long a member never met is waited for after the start of the node.
const FIRST_MEETING_MS: u64 = 5000;
