//! Listening on an address, or saying which one cannot be had and what to do; shared by the
//! bootstrap peer and the node.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};

use libp2p::multiaddr::Protocol;
use libp2p::swarm::NetworkBehaviour;
use libp2p::{Multiaddr, Swarm, TransportError};

use super::NetError;

/// Makes `swarm` listen on `address`.
pub(super) fn listen<B: NetworkBehaviour>(
    swarm: &mut Swarm<B>,
    address: &str,
) -> Result<(), NetError> {
    let wrong = || NetError::Address { address: address.to_owned() };
    let refused = |source| NetError::Listen { address: address.to_owned(), source };
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

    fn refusal(address: &str) -> NetError {
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
        assert_eq!(error.to_string(), "localhost:4000 is not a usable address");
        assert!(error.hint().unwrap().contains("/ip4/0.0.0.0/tcp/4000"));
        assert!(matches!(refusal("/ip4/127.0.0.1/udp/0"), NetError::Address { .. }));
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
