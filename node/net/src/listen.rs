//! Listening on an address, or saying which one cannot be had and what to do; shared by the
//! bootstrap peer and the node.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};

use libp2p::multiaddr::Protocol;
use libp2p::swarm::NetworkBehaviour;
use libp2p::{Multiaddr, Swarm, TransportError};
use thiserror::Error;

/// Why nothing listens on an address.
#[derive(Debug, Error)]
pub enum ListenError {
    /// Not a multiaddress, or one of a transport that is not spoken.
    #[error("{address} is not an address to listen on")]
    Address {
        /// As given.
        address: String,
    },
    /// The system refused.
    #[error("cannot listen on {address}: {source}")]
    Refused {
        /// As given.
        address: String,
        /// What the system said.
        source: io::Error,
    },
}

impl ListenError {
    /// Whether another program has the port.
    pub fn is_busy(&self) -> bool {
        matches!(self, Self::Refused { source, .. } if source.kind() == io::ErrorKind::AddrInUse)
    }

    /// What to do next, if that is known.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Address { .. } => Some(HINT),
            Self::Refused { source, .. } => match source.kind() {
                io::ErrorKind::AddrInUse => {
                    Some("another program has this port; stop it, or listen on another port")
                }
                io::ErrorKind::AddrNotAvailable => {
                    Some("this machine has no such address; /ip4/0.0.0.0/… takes all it has")
                }
                io::ErrorKind::PermissionDenied => Some("ports below 1024 belong to root"),
                _ => None,
            },
        }
    }
}

/// What an address to listen on looks like.
pub const HINT: &str =
    "an address looks like /ip4/0.0.0.0/tcp/4000 or /ip4/0.0.0.0/udp/4000/quic-v1";

/// Makes `swarm` listen on `address`.
pub fn listen<B: NetworkBehaviour>(swarm: &mut Swarm<B>, address: &str) -> Result<(), ListenError> {
    let wrong = || ListenError::Address { address: address.to_owned() };
    let refused = |source| ListenError::Refused { address: address.to_owned(), source };
    let parsed: Multiaddr = address.parse().map_err(|_| wrong())?;
    probe(&parsed).map_err(refused)?;
    swarm.listen_on(parsed).map(|_| ()).map_err(|error| match error {
        TransportError::MultiaddrNotSupported(_) => wrong(),
        TransportError::Other(source) => refused(source),
    })
}

/// Binds the address and lets go again. libp2p listens with `SO_REUSEPORT`, under which a second
/// listener of the same user would share the port in silence; this bind finds the first one.
fn probe(address: &Multiaddr) -> io::Result<()> {
    let mut parts = address.iter();
    let ip = match parts.next() {
        Some(Protocol::Ip4(ip)) => IpAddr::V4(ip),
        Some(Protocol::Ip6(ip)) => IpAddr::V6(ip),
        _ => return Ok(()),
    };
    match parts.next() {
        Some(Protocol::Tcp(port)) => TcpListener::bind(SocketAddr::new(ip, port)).map(drop),
        Some(Protocol::Udp(port)) => UdpSocket::bind(SocketAddr::new(ip, port)).map(drop),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use libp2p::SwarmBuilder;
    use libp2p::swarm::dummy;

    use super::*;

    fn refusal(address: &str) -> ListenError {
        let mut swarm = SwarmBuilder::with_new_identity()
            .with_tokio()
            .with_quic()
            .with_behaviour(|_| dummy::Behaviour)
            .unwrap()
            .build();
        listen(&mut swarm, address).unwrap_err()
    }

    #[tokio::test]
    async fn what_is_no_address_is_named() {
        let error = refusal("localhost:4000");
        assert_eq!(error.to_string(), "localhost:4000 is not an address to listen on");
        assert_eq!(error.hint(), Some(HINT));
        assert!(matches!(refusal("/ip4/127.0.0.1/udp/0"), ListenError::Address { .. }));
    }

    #[tokio::test]
    async fn a_udp_port_in_use_is_named_with_a_hint() {
        let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = refusal(&format!("/ip4/127.0.0.1/udp/{port}/quic-v1"));
        assert!(error.to_string().contains(&port.to_string()), "{error}");
        assert!(error.hint().unwrap().contains("another port"));
    }
}
