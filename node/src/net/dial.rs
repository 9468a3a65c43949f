//! When to dial which member where, so that all members are connected to all.
//!
//! Pure: time comes in by argument. Dials back off up to a bound and never stop. Of a pair, the
//! one with the smaller id dials first, so that seldom both do.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};

use super::limits;
use super::roster::Roster;

/// Where each other member stands.
#[derive(Debug)]
pub struct Dialer {
    targets: BTreeMap<PeerId, Target>,
}

/// A dial that is due.
#[derive(Debug, PartialEq, Eq)]
pub struct Dial {
    /// Whom.
    pub peer: PeerId,
    /// Where; at least one address.
    pub addresses: Vec<Multiaddr>,
}

#[derive(Debug)]
struct Target {
    fixed: Vec<Multiaddr>,
    learned: Vec<Multiaddr>,
    politeness: Duration,
    state: State,
    failures: u32,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Waiting { until: Instant },
    Dialing,
    Connected,
}

impl Dialer {
    /// Every other member, to be dialled from `now` on.
    pub fn new(roster: &Roster, now: Instant) -> Self {
        let target = |peer: PeerId| {
            let politeness = if roster.me < peer { Duration::ZERO } else { limits::POLITE_PAUSE };
            let fixed = roster.addresses.get(&peer).cloned().unwrap_or_default();
            let state = State::Waiting { until: now + politeness };
            (peer, Target { fixed, learned: Vec::new(), politeness, state, failures: 0 })
        };
        Self { targets: roster.peers().map(target).collect() }
    }

    /// Addresses heard of a member; the newest set replaces the one before. New ones are tried
    /// soon, whatever the pause was.
    pub fn learn(&mut self, peer: &PeerId, addresses: Vec<Multiaddr>, now: Instant) {
        let Some(target) = self.targets.get_mut(peer) else { return };
        let is_new = |address: &Multiaddr| !target.knows(address);
        let news = addresses.iter().any(is_new);
        target.learned = addresses;
        target.learned.truncate(limits::LEARNED_ADDRESSES_MAX);
        if let (true, State::Waiting { until }) = (news, &mut target.state) {
            *until = (*until).min(now + target.politeness);
            target.failures = 0;
        }
    }

    /// The dials to make now; each is under way once returned.
    pub fn due(&mut self, now: Instant) -> Vec<Dial> {
        let mut dials = Vec::new();
        for (peer, target) in &mut self.targets {
            let addresses = target.turn();
            let is_due = matches!(target.state, State::Waiting { until } if until <= now);
            if is_due && !addresses.is_empty() {
                target.state = State::Dialing;
                dials.push(Dial { peer: *peer, addresses });
            }
        }
        dials
    }

    /// A dial failed.
    pub fn on_failed(&mut self, peer: &PeerId, now: Instant) {
        let Some(target) = self.targets.get_mut(peer) else { return };
        if target.state == State::Dialing {
            let pause = limits::REDIAL_PAUSE * 2u32.saturating_pow(target.failures.min(16));
            let until = now + pause.min(limits::REDIAL_PAUSE_MAX) + target.politeness;
            target.failures += 1;
            target.state = State::Waiting { until };
        }
    }

    /// A connection stands, whoever dialled.
    pub fn on_connected(&mut self, peer: &PeerId) {
        if let Some(target) = self.targets.get_mut(peer) {
            target.state = State::Connected;
        }
    }

    /// The handshake went through: the next failure is the first again.
    pub fn on_greeted(&mut self, peer: &PeerId) {
        if let Some(target) = self.targets.get_mut(peer) {
            target.failures = 0;
        }
    }

    /// The last connection closed, before or after the handshake.
    pub fn on_closed(&mut self, peer: &PeerId, now: Instant) {
        if let Some(target) = self.targets.get_mut(peer) {
            target.state = State::Dialing;
            self.on_failed(peer, now);
        }
    }

    /// The member was refused: dialling again soon would end the same.
    pub fn on_refused(&mut self, peer: &PeerId, now: Instant) {
        if let Some(target) = self.targets.get_mut(peer) {
            target.state = State::Waiting { until: now + limits::REFUSED_PAUSE };
        }
    }

    /// How often in a row this member could not be kept.
    pub fn failures(&self, peer: &PeerId) -> u32 {
        self.targets.get(peer).map_or(0, |target| target.failures)
    }

    /// Whether every member is connected.
    pub fn is_complete(&self) -> bool {
        self.targets.values().all(|target| target.state == State::Connected)
    }
}

impl Target {
    fn knows(&self, address: &Multiaddr) -> bool {
        self.fixed.contains(address) || self.learned.contains(address)
    }

    /// The addresses to try this time: TCP, and every second time QUIC where there is both.
    fn turn(&self) -> Vec<Multiaddr> {
        let all: Vec<_> = self.learned.iter().chain(&self.fixed).cloned().collect();
        let (quic, tcp): (Vec<_>, Vec<_>) = all.into_iter().partition(is_udp);
        match (tcp.is_empty(), quic.is_empty()) {
            (false, false) if self.failures % 2 == 1 => quic,
            (false, _) => tcp,
            (true, _) => quic,
        }
    }
}

fn is_udp(address: &Multiaddr) -> bool {
    address.iter().any(|part| matches!(part, Protocol::Udp(_)))
}
