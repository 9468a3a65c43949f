//! The bootstrap peer's only loop: listen, tell where, serve until told to stop.

use std::collections::HashSet;
use std::future::Future;

use futures::{FutureExt, StreamExt};
use libp2p::multiaddr::Protocol;
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, Swarm, SwarmBuilder, noise, rendezvous, tcp, yamux};
use thiserror::Error;
use tokio::time::timeout;
use witan_net::listen::{self, ListenError};

use crate::behaviour::{Behaviour, BehaviourEvent};
use crate::key::{self, KeyError};
use crate::limits;
use crate::settings::Settings;

/// Why the bootstrap peer does not run.
#[derive(Debug, Error)]
pub enum BootstrapError {
    /// No usable key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// An address that cannot be listened on.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// No address was given, or none came up in time.
    #[error("no address to listen on")]
    Silent,
    /// The transports could not be set up.
    #[error("cannot set up the transport: {0}")]
    Transport(String),
}

impl BootstrapError {
    /// What to do next, if that is known.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Key(KeyError::Readable { .. }) => Some("take it from the others: chmod 600"),
            Self::Key(KeyError::Malformed { .. }) => {
                Some("move the file away: the next start makes a new key, with another address")
            }
            Self::Silent => Some(listen::HINT),
            Self::Listen(error) => error.hint(),
            Self::Key(KeyError::Io { .. }) | Self::Transport(_) => None,
        }
    }
}

/// A bootstrap peer that listens; it answers while [`Server::serve`] runs.
pub struct Server {
    swarm: Swarm<Behaviour>,
    addresses: Vec<Multiaddr>,
}

impl Server {
    /// Loads or makes the key and listens; returns once every listener has an address.
    pub async fn start(settings: &Settings) -> Result<Self, BootstrapError> {
        let key = key::load_or_create(&settings.key_file)?;
        let swarm = SwarmBuilder::with_existing_identity(key)
            .with_tokio()
            .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
            .map_err(|error| BootstrapError::Transport(error.to_string()))?
            .with_quic()
            .with_behaviour(|key| Behaviour::new(key.public()))
            .map_err(|error| BootstrapError::Transport(error.to_string()))?
            .with_swarm_config(|config| config.with_idle_connection_timeout(limits::IDLE_TIMEOUT))
            .with_connection_timeout(limits::HANDSHAKE_TIMEOUT)
            .build();
        let mut server = Self { swarm, addresses: Vec::new() };
        for address in &settings.listen {
            listen::listen(&mut server.swarm, address)?;
        }
        let listening = server.await_addresses(settings.listen.len());
        match timeout(limits::LISTEN_TIMEOUT, listening).await {
            Ok(()) if !server.addresses.is_empty() => Ok(server),
            _ => Err(BootstrapError::Silent),
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

    /// Waits until `count` listeners have told their first address, and takes what else is told
    /// at once; interfaces that come up later are served all the same.
    async fn await_addresses(&mut self, count: usize) {
        let mut told = HashSet::new();
        loop {
            let event = match self.swarm.next().now_or_never() {
                Some(event) => event,
                None if told.len() >= count => return,
                None => self.swarm.next().await,
            };
            if let Some(SwarmEvent::NewListenAddr { listener_id, address }) = event {
                told.insert(listener_id);
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

    fn settings(dir: &tempfile::TempDir, listen: &str) -> Settings {
        Settings { listen: vec![listen.to_owned()], key_file: dir.path().join("key.pem") }
    }

    #[tokio::test]
    async fn it_says_where_it_listens_and_stops_when_told() {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start(&settings(&dir, "/ip4/127.0.0.1/tcp/0")).await.unwrap();
        let [address] = server.addresses().try_into().unwrap();
        assert!(address.starts_with("/ip4/127.0.0.1/tcp/") && address.contains("/p2p/12D3"));
        timeout(limits::LISTEN_TIMEOUT, server.serve(async {})).await.unwrap();
    }

    #[tokio::test]
    async fn a_port_in_use_is_named_with_a_hint() {
        let dir = tempfile::tempdir().unwrap();
        let taken = Server::start(&settings(&dir, "/ip4/127.0.0.1/tcp/0")).await.unwrap();
        let address = taken.addresses[0].to_string();
        let error = Server::start(&settings(&dir, &address)).await.err().unwrap();
        assert!(error.to_string().contains(&address), "{error}");
        assert!(error.hint().unwrap().contains("another port"));
    }
}
