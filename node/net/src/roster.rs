//! Who may be connected: the members in force, and the federation's bootstrap peers to ask for
//! them.

use std::collections::{BTreeMap, BTreeSet};

use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};
use witan_protocol::Roster as InForce;
use witan_protocol::federation::Federation;
use witan_protocol::member::MemberId;

use super::NetError;
use super::identity;

/// The peers of a federation, as libp2p names them.
#[derive(Clone, Debug)]
pub(crate) struct Roster {
    /// This node.
    pub me: PeerId,
    /// Where the roster says this node may be reached.
    pub my_addresses: Vec<Multiaddr>,
    /// The other members.
    members: BTreeMap<PeerId, MemberId>,
    names: BTreeMap<MemberId, String>,
    /// Their addresses in the roster.
    pub addresses: BTreeMap<PeerId, Vec<Multiaddr>>,
    /// The bootstrap peers, with their addresses.
    pub bootstrap: BTreeMap<PeerId, Vec<Multiaddr>>,
}

impl Roster {
    /// The founders and bootstrap peers of a federation, and bootstrap peers `besides`, as the node
    /// `my_id` sees them. It need not be a founder: members may be added later.
    pub(crate) fn new(
        federation: &Federation,
        my_id: MemberId,
        besides: &[String],
    ) -> Result<Self, NetError> {
        for member in federation.founders().members() {
            for address in &member.addresses {
                parse(address)?;
            }
        }
        let bootstrap = bootstrap_peers(federation.document().bootstrap.iter().chain(besides))?;
        let me = identity::peer_of(&my_id).ok_or(NetError::NotAKey { key: my_id })?;
        Ok(Self::alone(me, bootstrap).after(federation.founders()))
    }

    fn alone(me: PeerId, bootstrap: BTreeMap<PeerId, Vec<Multiaddr>>) -> Self {
        Self {
            me,
            my_addresses: Vec::new(),
            members: BTreeMap::new(),
            names: BTreeMap::new(),
            addresses: BTreeMap::new(),
            bootstrap,
        }
    }

    /// The same node among other members. What is no address in their entries is passed over: a
    /// vote has made it so, and the member may be found by other means.
    pub(crate) fn after(&self, in_force: &InForce) -> Self {
        let mut roster = Self::alone(self.me, self.bootstrap.clone());
        for member in in_force.members() {
            let addresses = member.addresses.iter().filter_map(|text| parse(text).ok());
            let addresses = addresses.map(without_peer).collect();
            let Some(peer) = identity::peer_of(&member.id()) else { continue };
            roster.names.insert(member.id(), member.name.clone());
            if peer == self.me {
                roster.my_addresses = addresses;
            } else {
                roster.members.insert(peer, member.id());
                roster.addresses.insert(peer, addresses);
            }
        }
        roster
    }

    /// A member's name, or its whole key if it is a stranger.
    pub(crate) fn name_of(&self, member: &MemberId) -> String {
        self.names.get(member).cloned().unwrap_or_else(|| member.to_string())
    }

    /// This node and one other member, without a federation file.
    #[cfg(test)]
    pub(crate) fn of_two(me: PeerId, other: PeerId, addresses: Vec<Multiaddr>) -> Self {
        let member = identity::member_of(&other).expect("tests use ed25519 keys");
        let mut roster = Self::alone(me, BTreeMap::new());
        roster.members.insert(other, member);
        roster.addresses.insert(other, addresses);
        roster
    }

    /// The other member that `peer` is.
    pub(crate) fn member(&self, peer: &PeerId) -> Option<MemberId> {
        self.members.get(peer).copied()
    }

    /// The peer that another member is.
    pub(crate) fn peer(&self, member: &MemberId) -> Option<PeerId> {
        identity::peer_of(member).filter(|peer| self.members.contains_key(peer))
    }

    /// The other members as peers, in order of peer id.
    pub(crate) fn peers(&self) -> impl Iterator<Item = PeerId> + '_ {
        self.members.keys().copied()
    }

    /// Everyone a connection is kept with.
    pub(crate) fn allowed(&self) -> BTreeSet<PeerId> {
        self.members.keys().chain(self.bootstrap.keys()).copied().collect()
    }
}

fn bootstrap_peers<'a>(
    texts: impl Iterator<Item = &'a String>,
) -> Result<BTreeMap<PeerId, Vec<Multiaddr>>, NetError> {
    let mut peers: BTreeMap<PeerId, Vec<Multiaddr>> = BTreeMap::new();
    for text in texts {
        let mut address = parse(text)?;
        let Some(Protocol::P2p(peer)) = address.pop() else {
            return Err(NetError::Anonymous { address: text.clone() });
        };
        peers.entry(peer).or_default().push(address);
    }
    Ok(peers)
}

fn parse(text: &str) -> Result<Multiaddr, NetError> {
    text.parse().map_err(|_| NetError::Address { address: text.to_owned() })
}

/// An address without the peer id at its end: who answers there is checked on connecting.
pub(crate) fn without_peer(mut address: Multiaddr) -> Multiaddr {
    if matches!(address.iter().last(), Some(Protocol::P2p(_))) {
        address.pop();
    }
    address
}

/// Whether a text is an address that a member may be given.
pub fn is_address(text: &str) -> bool {
    parse(text).is_ok()
}
