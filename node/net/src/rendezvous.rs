//! The peer through which the members of a federation find each other: a rendezvous server with
//! identify and ping, and nothing else. It hears no gossip, holds no blob and has no vote.
//!
//! Members register their addresses under their federation's id ([libp2p
//! rendezvous](https://github.com/libp2p/specs/blob/master/rendezvous/README.md)) and ask for the
//! others. Anyone may ask; an address admits no one, for members drop strangers.

use std::collections::HashSet;
use std::future::Future;

use futures::{FutureExt, StreamExt};
use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::identity::PublicKey;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::{self, NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, Swarm, identify, ping, rendezvous};
use tokio::time::timeout;

use super::behaviour::PROTOCOL_VERSION;
use super::limits::{self, rendezvous as bounds};
use super::{NetError, identity, listen, transport};

/// What the server speaks; limits come first so that nothing is spent on excess.
#[derive(NetworkBehaviour)]
struct Behaviour {
    limits: connection_limits::Behaviour,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    rendezvous: rendezvous::server::Behaviour,
}

impl Behaviour {
    fn new(key: PublicKey) -> Self {
        let connections = ConnectionLimits::default()
            .with_max_pending_incoming(Some(limits::PENDING_INBOUND_MAX))
            .with_max_established(Some(bounds::ESTABLISHED_MAX))
            .with_max_established_per_peer(Some(bounds::PER_PEER_MAX));
        let registrations = rendezvous::server::Config::default()
            .with_max_registration_per_peer(bounds::REGISTRATIONS_PER_PEER_MAX)
            .with_max_registration_total(bounds::REGISTRATIONS_MAX);
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

/// A server that listens; it answers while [`Server::serve`] runs.
pub struct Server {
    swarm: Swarm<Behaviour>,
    addresses: Vec<Multiaddr>,
}

impl Server {
    /// Listens as the peer of this secret seed; returns once every listener has an address.
    ///
    /// # Errors
    /// An address that cannot be had, or none at all.
    pub async fn start(seed: [u8; 32], listen: &[String]) -> Result<Self, NetError> {
        let key = identity::keypair(seed);
        let transport = transport::build(&key, &Default::default()).map_err(NetError::Transport)?;
        let config =
            swarm::Config::with_tokio_executor().with_idle_connection_timeout(bounds::IDLE_TIMEOUT);
        let (behaviour, me) = (Behaviour::new(key.public()), key.public().to_peer_id());
        let mut server =
            Self { swarm: Swarm::new(transport, behaviour, me, config), addresses: Vec::new() };
        for address in listen {
            listen::listen(&mut server.swarm, address)?;
        }
        let listening = server.await_addresses(listen.len());
        match timeout(bounds::LISTEN_TIMEOUT, listening).await {
            Ok(()) if !server.addresses.is_empty() => Ok(server),
            _ => Err(NetError::Silent),
        }
    }

    /// Where it listens, with its peer id: what members put under `bootstrap`.
    pub fn addresses(&self) -> Vec<String> {
        let peer = *self.swarm.local_peer_id();
        self.addresses.iter().map(|at| at.clone().with(Protocol::P2p(peer)).to_string()).collect()
    }

    /// Answers until `shutdown` ends, then closes every connection by dropping it.
    pub async fn serve(mut self, shutdown: impl Future<Output = ()>) {
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => return,
                event = self.swarm.select_next_some() => log(event),
            }
        }
    }

    /// Waits until `count` listeners have reported their first address, and takes what else is
    /// reported at once; interfaces that come up later are served all the same.
    async fn await_addresses(&mut self, count: usize) {
        let mut listeners = HashSet::new();
        loop {
            let event = match self.swarm.next().now_or_never() {
                Some(event) => event,
                None if listeners.len() >= count => return,
                None => self.swarm.next().await,
            };
            if let Some(SwarmEvent::NewListenAddr { listener_id, address }) = event {
                listeners.insert(listener_id);
                self.addresses.push(address);
            }
        }
    }
}

fn log(event: SwarmEvent<BehaviourEvent>) {
    use rendezvous::server::Event;
    match event {
        SwarmEvent::NewListenAddr { address, .. } => tracing::info!(%address, "listening"),
        SwarmEvent::Behaviour(BehaviourEvent::Rendezvous(event)) => match event {
            Event::PeerRegistered { peer, registration } => {
                tracing::info!(%peer, namespace = %registration.namespace, "registered");
            }
            Event::PeerNotRegistered { peer, error, .. } => {
                tracing::info!(%peer, ?error, "not registered");
            }
            other => tracing::debug!(?other, "rendezvous"),
        },
        SwarmEvent::IncomingConnectionError { send_back_addr, error, .. } => {
            tracing::debug!(%send_back_addr, %error, "connection refused");
        }
        other => tracing::trace!(?other, "swarm"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn start(listen: &str) -> Result<Server, NetError> {
        Server::start([7; 32], &[listen.to_owned()]).await
    }

    #[tokio::test]
    async fn it_says_where_it_listens_and_stops_when_told() {
        let server = start("/ip4/127.0.0.1/tcp/0").await.unwrap();
        let [address] = server.addresses().try_into().unwrap();
        assert!(address.starts_with("/ip4/127.0.0.1/tcp/") && address.contains("/p2p/12D3"));
        timeout(bounds::LISTEN_TIMEOUT, server.serve(async {})).await.unwrap();
    }

    #[tokio::test]
    async fn a_port_in_use_is_named_with_a_hint() {
        let taken = start("/ip4/127.0.0.1/tcp/0").await.unwrap();
        let address = taken.addresses[0].to_string();
        let error = start(&address).await.err().unwrap();
        assert!(error.to_string().contains(&address), "{error}");
        assert!(error.hint().unwrap().contains("another port"));
    }
}
