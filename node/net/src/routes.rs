//! Connections: what each event of a listener, a connection or a bootstrap peer means to the values
//! of a [`Service`]. What is said on a connection is in [`super::exchange`].

use std::time::Instant;

use libp2p::multiaddr::Protocol;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ListenError, SwarmEvent};
use libp2p::{Multiaddr, PeerId, allow_block_list, identify, ping, rendezvous};

use super::behaviour::BehaviourEvent;
use super::discovery::Step as DiscoveryStep;
use super::handshake::Outcome;
use super::refusals::Party;
use super::roster::without_peer;
use super::service::Service;
use super::{Event, identity, limits};

impl Service {
    /// An event of one of the protocols.
    pub(super) fn on_behaviour(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Hello(event) => self.on_hello(event),
            BehaviourEvent::Gossip(event) => self.on_gossip(event),
            BehaviourEvent::Direct(event) => self.on_direct(event),
            BehaviourEvent::Blob(event) => self.on_blob(event),
            BehaviourEvent::Rendezvous(event) => self.on_rendezvous(event),
            BehaviourEvent::Identify(identify::Event::Received { peer_id, info, .. }) => {
                let addresses = info.listen_addrs.into_iter().map(without_peer).collect();
                self.dialer.learn(&peer_id, reachable(addresses), Instant::now());
            }
            BehaviourEvent::Identify(_) => {}
            BehaviourEvent::Ping(ping::Event { connection, result: Err(error), peer }) => {
                if !matches!(error, ping::Failure::Unsupported) {
                    tracing::debug!(%peer, %error, "a connection does not answer");
                    self.swarm.close_connection(connection);
                }
            }
            BehaviourEvent::Ping(_) => {}
            BehaviourEvent::Limits(never) | BehaviourEvent::Allowed(never) => match never {},
        }
    }

    /// An event of a connection or a listener.
    pub(super) fn on_connection(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::NewListenAddr { address, .. } => self.on_listening(address),
            SwarmEvent::ConnectionEstablished { peer_id, num_established, .. }
                if num_established.get() == 1 =>
            {
                self.on_connected(peer_id);
            }
            SwarmEvent::ConnectionEstablished { peer_id, .. } => self.on_another(peer_id),
            SwarmEvent::ConnectionClosed { peer_id, num_established: 0, .. } => {
                self.on_closed(peer_id);
            }
            SwarmEvent::OutgoingConnectionError { peer_id: Some(peer), error, .. } => {
                tracing::debug!(%peer, %error, "a dial failed");
                self.dialer.on_failed(&peer, Instant::now());
            }
            SwarmEvent::IncomingConnectionError { send_back_addr, error, peer_id, .. } => {
                self.on_inbound_error(&send_back_addr, &error, peer_id);
            }
            SwarmEvent::ListenerClosed { addresses, reason: Err(error), .. } => {
                tracing::error!(?addresses, %error, "no longer listening");
            }
            SwarmEvent::ListenerError { error, .. } => {
                tracing::warn!(%error, "a connection was not accepted");
            }
            _ => {}
        }
    }

    /// Makes the dials that are due.
    pub(super) fn dial_due(&mut self, now: Instant) {
        for dial in self.dialer.due(now) {
            if !self.dial(dial.peer, dial.addresses) {
                self.dialer.on_failed(&dial.peer, now);
            }
        }
    }

    /// Asks bootstrap peers what is due.
    pub(super) fn ask_due(&mut self, now: Instant) {
        let is_complete = self.dialer.is_complete();
        for step in self.discovery.due(now, is_complete) {
            let namespace = namespace(self.federation.id());
            match step {
                DiscoveryStep::Dial(peer, addresses) => {
                    self.dial(peer, addresses);
                }
                DiscoveryStep::Register(peer) => {
                    let rendezvous = &mut self.swarm.behaviour_mut().rendezvous;
                    if let Err(error) = rendezvous.register(namespace.clone(), peer, None) {
                        tracing::debug!(%error, "not registered yet");
                        rendezvous.discover(Some(namespace), None, None, peer);
                    }
                }
                DiscoveryStep::Discover(peer, cookie) => {
                    let rendezvous = &mut self.swarm.behaviour_mut().rendezvous;
                    rendezvous.discover(Some(namespace), cookie, None, peer);
                }
            }
        }
    }

    fn dial(&mut self, peer: PeerId, addresses: Vec<Multiaddr>) -> bool {
        let options = DialOpts::peer_id(peer)
            .condition(PeerCondition::DisconnectedAndNotDialing)
            .addresses(addresses)
            .allocate_new_port()
            .build();
        self.swarm.dial(options).is_ok()
    }

    fn on_listening(&mut self, address: Multiaddr) {
        if self.roster.my_addresses.is_empty() {
            let others: Vec<_> = self.swarm.external_addresses().cloned().collect();
            if !is_loopback(&address) {
                for other in others.iter().filter(|other| is_loopback(other)) {
                    self.swarm.remove_external_address(other);
                }
            }
            if !is_loopback(&address) || others.iter().all(is_loopback) {
                self.swarm.add_external_address(address.clone());
            }
        }
        let full = address.with(Protocol::P2p(self.roster.me));
        self.emit(Event::Listening(full.to_string()));
    }

    fn on_connected(&mut self, peer: PeerId) {
        let now = Instant::now();
        self.since.insert(peer, now);
        self.discovery.on_connected(&peer, now);
        if self.roster.member(&peer).is_some() {
            self.dialer.on_connected(&peer);
            let hello = self.handshakes.hello();
            self.swarm.behaviour_mut().hello.send_request(&peer, hello);
        }
    }

    /// A connection beside an older one. If that is old, the peer has restarted without our
    /// noticing, and gossip would go on as if it still knew us: start over with it.
    fn on_another(&mut self, peer: PeerId) {
        let is_stale =
            self.since.get(&peer).is_some_and(|since| since.elapsed() > limits::STALE_AGE);
        if is_stale {
            tracing::debug!(%peer, "a peer that was connected connects again: starting over");
            // An error says that the peer is gone already.
            let _ = self.swarm.disconnect_peer_id(peer);
        }
    }

    fn on_closed(&mut self, peer: PeerId) {
        let now = Instant::now();
        self.since.remove(&peer);
        self.discovery.on_closed(&peer);
        self.server.on_closed(&peer);
        self.direct.remove(&peer);
        self.leaving.remove(&peer);
        let Some(member) = self.roster.member(&peer) else { return };
        match self.handshakes.on_closed(&peer) {
            Some(Outcome::Accepted) => {
                self.dialer.on_closed(&peer, now);
                self.emit(Event::Disconnected(member));
            }
            Some(Outcome::Mismatch) => self.dialer.on_refused(&peer, now),
            None => {
                self.dialer.on_closed(&peer, now);
                if self.dialer.failures(&peer) == SILENT_ENDS_REPORTED {
                    let reason = "it closes the connection before any handshake; \
                                  is this node's key in its federation.toml?";
                    self.refuse_member(&member, reason.to_owned());
                }
            }
        }
    }

    fn on_inbound_error(&mut self, from: &Multiaddr, error: &ListenError, peer: Option<PeerId>) {
        let address = from.iter().next().map_or_else(String::new, |part| part.to_string());
        let address = address.rsplit('/').next().unwrap_or_default().to_owned();
        match error {
            ListenError::Denied { cause } if is_stranger(cause) => {
                let who = peer.map_or(address, |peer| self.name(&peer));
                let reason = "its key is not a member of this federation".to_owned();
                self.refuse(Party::Stranger, who, reason);
            }
            ListenError::Denied { cause } => tracing::debug!(%from, %cause, "connection denied"),
            ListenError::Transport(cause) => {
                let reason = format!("no handshake: {}", root_cause(cause));
                self.refuse(Party::Stranger, address, reason);
            }
            other => tracing::debug!(%from, error = %other, "connection refused"),
        }
    }

    fn on_rendezvous(&mut self, event: rendezvous::client::Event) {
        use rendezvous::client::Event;
        let now = Instant::now();
        match event {
            Event::Registered { rendezvous_node, .. } => {
                self.discovery.on_registered(&rendezvous_node, now);
            }
            Event::RegisterFailed { rendezvous_node, error, .. } => {
                tracing::debug!(%rendezvous_node, ?error, "not registered");
            }
            Event::Discovered { rendezvous_node, registrations, cookie } => {
                let mut has_new = false;
                for registration in registrations {
                    let peer = registration.record.peer_id();
                    let addresses = registration.record.addresses().iter().cloned();
                    let addresses = addresses.map(without_peer).collect();
                    has_new |= self.roster.member(&peer).is_some();
                    self.dialer.learn(&peer, addresses, now);
                }
                self.discovery.on_discovered(&rendezvous_node, cookie, has_new, now);
                self.dial_due(now);
            }
            Event::DiscoverFailed { rendezvous_node, error, .. } => {
                tracing::debug!(%rendezvous_node, ?error, "not discovered");
                self.discovery.on_discover_failed(&rendezvous_node);
            }
            Event::Expired { .. } => {}
        }
    }

    /// A member's name, or a stranger's whole key, or its peer id.
    pub(super) fn name(&self, peer: &PeerId) -> String {
        match identity::member_of(peer) {
            Some(id) => self.roster.name_of(&id),
            None => peer.to_string(),
        }
    }
}

/// What members of a federation register under.
fn namespace(federation: witan_protocol::federation::FederationId) -> rendezvous::Namespace {
    rendezvous::Namespace::new(format!("/witan/{federation}/1"))
        .expect("a namespace may have 255 bytes")
}

/// The addresses worth dialling: loopback ones only if there are no others.
fn reachable(mut addresses: Vec<Multiaddr>) -> Vec<Multiaddr> {
    if !addresses.iter().all(is_loopback) {
        addresses.retain(|address| !is_loopback(address));
    }
    addresses
}

fn is_loopback(address: &Multiaddr) -> bool {
    address.iter().any(|part| match part {
        Protocol::Ip4(ip) => ip.is_loopback(),
        Protocol::Ip6(ip) => ip.is_loopback(),
        _ => false,
    })
}

fn is_stranger(cause: &libp2p::swarm::ConnectionDenied) -> bool {
    use std::error::Error;
    cause.source().is_some_and(|source| source.is::<allow_block_list::NotAllowed>())
}

fn root_cause(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), root_cause)
}

/// A member that ends so many connections without a word has a reason; its operator should know.
const SILENT_ENDS_REPORTED: u32 = 3;
