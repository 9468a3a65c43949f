//! What the bootstrap peer speaks: rendezvous as a server, identify and ping, within limits.

use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::identity::PublicKey;
use libp2p::swarm::NetworkBehaviour;
use libp2p::{identify, ping, rendezvous};

use crate::limits;

/// The protocols of the bootstrap peer; limits come first so that nothing is spent on excess.
#[derive(NetworkBehaviour)]
pub struct Behaviour {
    limits: connection_limits::Behaviour,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    rendezvous: rendezvous::server::Behaviour,
}

impl Behaviour {
    /// The behaviour of the peer with this public key.
    pub fn new(key: PublicKey) -> Self {
        let connections = ConnectionLimits::default()
            .with_max_pending_incoming(Some(limits::PENDING_INBOUND_MAX))
            .with_max_established(Some(limits::ESTABLISHED_MAX))
            .with_max_established_per_peer(Some(limits::PER_PEER_MAX));
        let registrations = rendezvous::server::Config::default()
            .with_max_registration_per_peer(limits::REGISTRATIONS_PER_PEER_MAX)
            .with_max_registration_total(limits::REGISTRATIONS_MAX);
        let identity = identify::Config::new(PROTOCOL_VERSION.to_owned(), key)
            .with_agent_version(format!("witan-bootstrap/{}", env!("CARGO_PKG_VERSION")));
        Self {
            limits: connection_limits::Behaviour::new(connections),
            identify: identify::Behaviour::new(identity),
            ping: ping::Behaviour::default(),
            rendezvous: rendezvous::server::Behaviour::new(registrations),
        }
    }
}

/// What identify reports; the handshake that matters is among members.
const PROTOCOL_VERSION: &str = "/witan/1";
