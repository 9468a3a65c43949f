//! Everything a node speaks, in one libp2p behaviour; who may speak comes before what is said.

use libp2p::allow_block_list::{self, AllowedPeers};
use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::identity::Keypair;
use libp2p::swarm::NetworkBehaviour;
use libp2p::{StreamProtocol, identify, ping, rendezvous, request_response};
use witan_protocol::federation::hello::HELLO_BYTES_MAX;
use witan_protocol::federation::{FederationId, MEMBERS_MAX};

use super::NetError;
use super::chunk::{Answer, Question};
use super::frames::Frames;
use super::gossip::{self, Gossipsub};
use super::limits;
use super::roster::Roster;

/// The protocols of a node.
#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    limits: connection_limits::Behaviour,
    /// Who may be connected.
    pub allowed: allow_block_list::Behaviour<AllowedPeers>,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    /// The client of bootstrap peers.
    pub rendezvous: rendezvous::client::Behaviour,
    /// The handshake, the same for all federations.
    pub hello: request_response::Behaviour<Frames>,
    /// Messages for everyone.
    pub gossip: Gossipsub,
    /// Messages for one.
    pub direct: request_response::Behaviour<Frames>,
    /// Chunks of blobs.
    pub blob: request_response::Behaviour<Frames>,
}

impl Behaviour {
    /// The behaviour of the member with this key.
    pub(crate) fn new(
        key: &Keypair,
        federation: FederationId,
        roster: &Roster,
    ) -> Result<Self, NetError> {
        let mut allowed = allow_block_list::Behaviour::default();
        for peer in roster.allowed() {
            allowed.allow_peer(peer);
        }
        // Members may come later.
        let peers = MEMBERS_MAX + roster.bootstrap.len();
        let peers = u32::try_from(peers).unwrap_or(u32::MAX);
        let connections = ConnectionLimits::default()
            .with_max_pending_incoming(Some(limits::PENDING_INBOUND_MAX))
            .with_max_established_per_peer(Some(limits::CONNECTIONS_PER_PEER_MAX))
            .with_max_established(Some(peers.saturating_mul(limits::CONNECTIONS_PER_PEER_MAX)));
        let identity = identify::Config::new(PROTOCOL_VERSION.to_owned(), key.public())
            .with_agent_version(format!("witan/{}", env!("CARGO_PKG_VERSION")))
            // Who says in the federation file where it is reached is reached there: what it listens
            // on may lie behind that, out of the others' reach.
            .with_hide_listen_addrs(!roster.my_addresses.is_empty());
        let pings = ping::Config::new()
            .with_interval(limits::PING_INTERVAL)
            .with_timeout(limits::PING_TIMEOUT);
        let hello =
            Frames { request_bytes_max: HELLO_BYTES_MAX, answer_bytes_max: HELLO_BYTES_MAX };
        let direct = Frames { request_bytes_max: limits::DIRECT_BYTES_MAX, answer_bytes_max: 0 };
        let blob =
            Frames { request_bytes_max: Question::BYTES, answer_bytes_max: Answer::BYTES_MAX };
        Ok(Self {
            limits: connection_limits::Behaviour::new(connections),
            allowed,
            identify: identify::Behaviour::new(identity),
            ping: ping::Behaviour::new(pings),
            rendezvous: rendezvous::client::Behaviour::new(key.clone()),
            hello: hello.behaviour(StreamProtocol::new(HELLO_PROTOCOL)),
            gossip: gossip::behaviour(key, federation).map_err(NetError::Gossip)?,
            direct: direct.behaviour(protocol(federation, "direct")),
            blob: blob.behaviour(protocol(federation, "blob")),
        })
    }
}

/// The name of a protocol that only members of one federation speak.
fn protocol(federation: FederationId, name: &str) -> StreamProtocol {
    StreamProtocol::try_from_owned(format!("/witan/{federation}/{name}/1"))
        .expect("the name begins with a slash")
}

/// The handshake's protocol, which members of different federations share.
pub(crate) const HELLO_PROTOCOL: &str = "/witan/hello/1";

/// What identify reports; the handshake that matters is [`HELLO_PROTOCOL`].
pub(crate) const PROTOCOL_VERSION: &str = "/witan/1";
