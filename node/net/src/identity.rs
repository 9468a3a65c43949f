//! A member is its libp2p peer: the ed25519 key of the one is inlined in the id of the other.
//! Nothing is looked up; whoever has one id has both.

use libp2p::PeerId;
use libp2p::identity::{Keypair, PublicKey, ed25519};
use witan_protocol::member::MemberId;

/// The key pair of a member's secret seed.
pub(crate) fn keypair(seed: [u8; 32]) -> Keypair {
    Keypair::ed25519_from_bytes(seed).expect("any 32 bytes are an ed25519 seed")
}

/// The peer a member is; `None` if its key is no point on the curve.
pub(crate) fn peer_of(member: &MemberId) -> Option<PeerId> {
    let key = ed25519::PublicKey::try_from_bytes(&member.0).ok()?;
    Some(PublicKey::from(key).to_peer_id())
}

/// The member a peer would be; `None` if its key is of another kind, or hashed into the id.
pub(crate) fn member_of(peer: &PeerId) -> Option<MemberId> {
    let inlined = peer.as_ref();
    if inlined.code() != IDENTITY_MULTIHASH {
        return None;
    }
    let key = inlined.digest().strip_prefix(&ED25519_PREFIX)?;
    key.try_into().ok().map(MemberId)
}

/// The multihash code of bytes that stand for themselves.
const IDENTITY_MULTIHASH: u64 = 0;

/// The protobuf head of an ed25519 public key of 32 bytes.
const ED25519_PREFIX: [u8; 4] = [0x08, 0x01, 0x12, 0x20];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_and_its_peer_name_each_other() {
        for seed in 0..32 {
            let key = keypair([seed; 32]);
            let peer = key.public().to_peer_id();
            let member = member_of(&peer).unwrap();
            assert_eq!(peer_of(&member), Some(peer));
            let ed25519 = key.try_into_ed25519().unwrap();
            assert_eq!(member.0, ed25519.public().to_bytes());
        }
    }

    #[test]
    fn a_peer_without_an_inlined_key_is_no_member() {
        let hashed: PeerId = "QmcgpsyWgH8Y8ajJz1Cu72KnS5uo2Aa2LpzU7kinSupNKC".parse().unwrap();
        assert_eq!(member_of(&hashed), None);
    }
}
