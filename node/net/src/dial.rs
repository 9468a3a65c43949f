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

/// The state of each other member.
#[derive(Debug)]
pub(crate) struct Dialer {
    targets: BTreeMap<PeerId, Target>,
}

/// A dial that is due.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Dial {
    pub peer: PeerId,
    /// At least one.
    pub addresses: Vec<Multiaddr>,
}

#[derive(Debug)]
struct Target {
    fixed: Vec<Multiaddr>,
    learned: Vec<Multiaddr>,
    delay: Duration,
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
    pub(crate) fn new(roster: &Roster, now: Instant) -> Self {
        let mut dialer = Self { targets: BTreeMap::new() };
        dialer.follow(roster, now);
        dialer
    }

    /// Other members are in force: those who left are dialled no more, those who came from `now`
    /// on.
    pub(crate) fn follow(&mut self, roster: &Roster, now: Instant) {
        self.targets.retain(|peer, _| roster.member(peer).is_some());
        for peer in roster.peers() {
            self.targets.entry(peer).or_insert_with(|| {
                let is_first = roster.me < peer;
                let delay = if is_first { Duration::ZERO } else { limits::SECOND_DIALER_DELAY };
                let fixed = roster.addresses.get(&peer).cloned().unwrap_or_default();
                let state = State::Waiting { until: now + delay };
                Target { fixed, learned: Vec::new(), delay, state, failures: 0 }
            });
        }
    }

    /// Addresses heard of a member; the newest set replaces the one before. New ones are tried
    /// soon, whatever the pause was.
    pub(crate) fn learn(&mut self, peer: &PeerId, addresses: Vec<Multiaddr>, now: Instant) {
        let Some(target) = self.targets.get_mut(peer) else { return };
        let is_new = |address: &Multiaddr| !target.knows(address);
        let has_new = addresses.iter().any(is_new);
        target.learned = addresses;
        target.learned.truncate(limits::LEARNED_ADDRESSES_MAX);
        if let (true, State::Waiting { until }) = (has_new, &mut target.state) {
            *until = (*until).min(now + target.delay);
            target.failures = 0;
        }
    }

    /// The dials to make now; each is under way once returned.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<Dial> {
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
    pub(crate) fn on_failed(&mut self, peer: &PeerId, now: Instant) {
        let Some(target) = self.targets.get_mut(peer) else { return };
        if target.state == State::Dialing {
            let pause = limits::REDIAL_PAUSE * 2u32.saturating_pow(target.failures.min(16));
            let until = now + pause.min(limits::REDIAL_PAUSE_MAX) + target.delay;
            target.failures += 1;
            target.state = State::Waiting { until };
        }
    }

    /// A connection is up, whoever dialled.
    pub(crate) fn on_connected(&mut self, peer: &PeerId) {
        if let Some(target) = self.targets.get_mut(peer) {
            target.state = State::Connected;
        }
    }

    /// The handshake went through: the next failure is the first again.
    pub(crate) fn on_handshake(&mut self, peer: &PeerId) {
        if let Some(target) = self.targets.get_mut(peer) {
            target.failures = 0;
        }
    }

    /// The last connection closed, before or after the handshake.
    pub(crate) fn on_closed(&mut self, peer: &PeerId, now: Instant) {
        if let Some(target) = self.targets.get_mut(peer) {
            target.state = State::Dialing;
            self.on_failed(peer, now);
        }
    }

    /// The member was refused: dialling again soon would end the same.
    pub(crate) fn on_refused(&mut self, peer: &PeerId, now: Instant) {
        if let Some(target) = self.targets.get_mut(peer) {
            target.state = State::Waiting { until: now + limits::REFUSED_PAUSE };
        }
    }

    /// How often in a row this member could not be kept.
    pub(crate) fn failures(&self, peer: &PeerId) -> u32 {
        self.targets.get(peer).map_or(0, |target| target.failures)
    }

    /// Whether every member is connected.
    pub(crate) fn is_complete(&self) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity;

    const TCP: &str = "/ip4/192.0.2.1/tcp/1";
    const QUIC: &str = "/ip4/192.0.2.1/udp/1/quic-v1";

    fn target(addresses: &[&str]) -> Fixture {
        let members = [1, 2].map(|seed| identity::keypair([seed; 32]).public().to_peer_id());
        let (me, peer) = (members[0].min(members[1]), members[0].max(members[1]));
        let now = Instant::now();
        let fixed: Vec<Multiaddr> = addresses.iter().map(|text| text.parse().unwrap()).collect();
        let roster = Roster::of_two(me, peer, fixed);
        Fixture { dialer: Dialer::new(&roster, now), peer, now }
    }

    struct Fixture {
        dialer: Dialer,
        peer: PeerId,
        now: Instant,
    }

    #[test]
    fn a_member_is_dialled_once_until_that_failed() {
        let Fixture { mut dialer, peer, now } = target(&[TCP]);
        let [dial] = dialer.due(now).try_into().unwrap();
        assert_eq!((dial.peer, dial.addresses), (peer, vec![TCP.parse().unwrap()]));
        assert_eq!(dialer.due(now + limits::REDIAL_PAUSE_MAX), []);
        dialer.on_failed(&peer, now);
        assert_eq!(dialer.due(now), []);
        assert_eq!(dialer.due(now + limits::REDIAL_PAUSE).len(), 1);
    }

    #[test]
    fn pauses_grow_to_a_bound_and_dialling_never_stops() {
        let Fixture { mut dialer, peer, mut now } = target(&[TCP]);
        for _ in 0..1000 {
            assert_eq!(dialer.due(now).len(), 1);
            dialer.on_failed(&peer, now);
            now += limits::REDIAL_PAUSE_MAX;
        }
        assert_eq!(dialer.due(now).len(), 1);
    }

    #[test]
    fn nobody_is_dialled_without_an_address_or_while_connected() {
        let Fixture { mut dialer, peer, now } = target(&[]);
        assert_eq!(dialer.due(now), []);
        dialer.on_connected(&peer);
        dialer.learn(&peer, vec![TCP.parse().unwrap()], now);
        assert!(dialer.is_complete());
        assert_eq!(dialer.due(now), []);
        dialer.on_closed(&peer, now);
        assert_eq!(dialer.due(now + limits::REDIAL_PAUSE).len(), 1);
    }

    #[test]
    fn a_new_address_is_tried_soon_after_many_failures() {
        let Fixture { mut dialer, peer, mut now } = target(&[TCP]);
        for _ in 0..20 {
            dialer.due(now);
            dialer.on_failed(&peer, now);
            now += limits::REDIAL_PAUSE_MAX;
        }
        dialer.due(now);
        dialer.on_failed(&peer, now);
        assert_eq!(dialer.due(now), []);
        dialer.learn(&peer, vec!["/ip4/192.0.2.2/tcp/2".parse().unwrap()], now);
        assert_eq!(dialer.due(now).len(), 1);
    }

    #[test]
    fn quic_is_tried_every_second_time() {
        let Fixture { mut dialer, peer, now } = target(&[QUIC, TCP]);
        let first = dialer.due(now).remove(0).addresses;
        dialer.on_failed(&peer, now);
        let second = dialer.due(now + limits::REDIAL_PAUSE_MAX).remove(0).addresses;
        assert_eq!(first, [TCP.parse().unwrap()]);
        assert_eq!(second, [QUIC.parse().unwrap()]);
    }

    #[test]
    fn a_refused_member_is_left_alone_for_a_while() {
        let Fixture { mut dialer, peer, now } = target(&[TCP]);
        dialer.due(now);
        dialer.on_refused(&peer, now);
        assert_eq!(dialer.due(now + limits::REFUSED_PAUSE / 2), []);
        assert_eq!(dialer.due(now + limits::REFUSED_PAUSE).len(), 1);
    }
}
