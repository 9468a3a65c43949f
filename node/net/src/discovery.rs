//! When to ask which bootstrap peer, and what: register this node, then ask for the others.
//!
//! Pure: time comes in by argument. Questions come quickly while members are missing and are rare
//! once all are connected. Losing every bootstrap peer closes no connection.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use libp2p::rendezvous::Cookie;
use libp2p::{Multiaddr, PeerId};

use super::limits;
use super::roster::Roster;

/// The state of each bootstrap peer.
#[derive(Debug)]
pub(crate) struct Discovery {
    peers: BTreeMap<PeerId, Bootstrap>,
}

/// A step that is due.
#[derive(Debug)]
pub(crate) enum Step {
    /// Connect to the bootstrap peer at one of its addresses.
    Dial(PeerId, Vec<Multiaddr>),
    /// Register with it; what follows the answer is [`Discovery::on_registered`].
    Register(PeerId),
    /// Ask it for members that registered since the cookie.
    Discover(PeerId, Option<Cookie>),
}

#[derive(Debug)]
struct Bootstrap {
    addresses: Vec<Multiaddr>,
    is_connected: bool,
    next: Instant,
    pause: Duration,
    registered: Option<Instant>,
    cookie: Option<Cookie>,
}

impl Discovery {
    /// Every bootstrap peer of the federation, to be asked from `now` on.
    pub(crate) fn new(roster: &Roster, now: Instant) -> Self {
        let bootstrap = |addresses: &Vec<Multiaddr>| Bootstrap {
            addresses: addresses.clone(),
            is_connected: false,
            next: now,
            pause: limits::DISCOVER_PAUSE,
            registered: None,
            cookie: None,
        };
        Self { peers: roster.bootstrap.iter().map(|(id, at)| (*id, bootstrap(at))).collect() }
    }

    /// The steps to take now. `is_complete`: every member is connected.
    pub(crate) fn due(&mut self, now: Instant, is_complete: bool) -> Vec<Step> {
        let mut steps = Vec::new();
        for (peer, bootstrap) in &mut self.peers {
            if !is_complete && bootstrap.pause > limits::DISCOVER_PAUSE_MAX {
                bootstrap.pause = limits::DISCOVER_PAUSE;
                bootstrap.next = bootstrap.next.min(now);
            }
            if bootstrap.next > now {
                continue;
            }
            bootstrap.next = now + bootstrap.pause;
            bootstrap.pause = match is_complete {
                true => limits::DISCOVER_PAUSE_COMPLETE,
                false => (bootstrap.pause * 2).min(limits::DISCOVER_PAUSE_MAX),
            };
            steps.push(bootstrap.step(*peer, now));
        }
        steps
    }

    /// Connected: ask at once.
    pub(crate) fn on_connected(&mut self, peer: &PeerId, now: Instant) {
        if let Some(bootstrap) = self.peers.get_mut(peer) {
            bootstrap.is_connected = true;
            bootstrap.next = now;
        }
    }

    /// The last connection to it closed; it may have restarted and forgotten us.
    pub(crate) fn on_closed(&mut self, peer: &PeerId) {
        if let Some(bootstrap) = self.peers.get_mut(peer) {
            bootstrap.is_connected = false;
            bootstrap.registered = None;
        }
    }

    /// Registered: ask for the others at once.
    pub(crate) fn on_registered(&mut self, peer: &PeerId, now: Instant) {
        if let Some(bootstrap) = self.peers.get_mut(peer) {
            bootstrap.registered = Some(now);
            bootstrap.next = now;
        }
    }

    /// It answered; `has_new` says whether a member with a new address was among the answer.
    pub(crate) fn on_discovered(
        &mut self,
        peer: &PeerId,
        cookie: Cookie,
        has_new: bool,
        now: Instant,
    ) {
        if let Some(bootstrap) = self.peers.get_mut(peer) {
            bootstrap.cookie = Some(cookie);
            if has_new {
                bootstrap.pause = limits::DISCOVER_PAUSE;
                bootstrap.next = bootstrap.next.min(now + bootstrap.pause);
            }
        }
    }

    /// It did not take the cookie, or is in trouble: ask for everything next time.
    pub(crate) fn on_discover_failed(&mut self, peer: &PeerId) {
        if let Some(bootstrap) = self.peers.get_mut(peer) {
            bootstrap.cookie = None;
        }
    }
}

impl Bootstrap {
    fn step(&self, peer: PeerId, now: Instant) -> Step {
        let is_registered = self.registered.is_some_and(|at| now < at + limits::REGISTRATION_TIME);
        match (self.is_connected, is_registered) {
            (false, _) => Step::Dial(peer, self.addresses.clone()),
            (true, false) => Step::Register(peer),
            (true, true) => Step::Discover(peer, self.cookie.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity;

    struct Fixture {
        discovery: Discovery,
        bootstrap: PeerId,
        now: Instant,
    }

    fn fixture() -> Fixture {
        let [me, other, bootstrap] =
            [1, 2, 3].map(|seed| identity::keypair([seed; 32]).public().to_peer_id());
        let mut roster = Roster::of_two(me, other, Vec::new());
        roster.bootstrap.insert(bootstrap, vec!["/ip4/192.0.2.1/tcp/1".parse().unwrap()]);
        let now = Instant::now();
        Fixture { discovery: Discovery::new(&roster, now), bootstrap, now }
    }

    #[test]
    fn a_node_connects_registers_then_asks() {
        let Fixture { mut discovery, bootstrap, now } = fixture();
        assert!(
            matches!(discovery.due(now, false)[..], [Step::Dial(peer, _)] if peer == bootstrap)
        );
        discovery.on_connected(&bootstrap, now);
        assert!(
            matches!(discovery.due(now, false)[..], [Step::Register(peer)] if peer == bootstrap)
        );
        assert!(discovery.due(now, false).is_empty());
        discovery.on_registered(&bootstrap, now);
        assert!(matches!(discovery.due(now, false)[..], [Step::Discover(_, None)]));
    }

    #[test]
    fn questions_are_rare_when_complete_and_quick_again_when_a_member_is_missing() {
        let Fixture { mut discovery, bootstrap, now } = fixture();
        discovery.on_connected(&bootstrap, now);
        discovery.on_registered(&bootstrap, now);
        assert_eq!(discovery.due(now, true).len(), 1);
        let soon = now + limits::DISCOVER_PAUSE * 2;
        assert_eq!(discovery.due(soon, true).len(), 1);
        assert!(discovery.due(soon + limits::DISCOVER_PAUSE_MAX, true).is_empty());
        assert_eq!(discovery.due(soon + limits::DISCOVER_PAUSE_MAX, false).len(), 1);
    }

    #[test]
    fn a_bootstrap_peer_that_was_lost_is_registered_with_again() {
        let Fixture { mut discovery, bootstrap, now } = fixture();
        discovery.on_connected(&bootstrap, now);
        discovery.on_registered(&bootstrap, now);
        discovery.on_closed(&bootstrap);
        discovery.on_connected(&bootstrap, now);
        assert!(matches!(discovery.due(now, false)[..], [Step::Register(_)]));
    }
}
