//! A member's signing key. Pure: where key files are and their mode is up to the node.
//!
//! PKCS#8 version 1 PEM, so that `openssl pkey` reads what is written here. Must never print a key.

use std::fmt;

use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey, EncodePrivateKey, EncodePublicKey, KeypairBytes};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

use crate::member::MemberId;

/// An ed25519 key pair: it signs envelopes and is the libp2p identity.
#[derive(Clone)]
pub struct Identity {
    key: SigningKey,
}

/// A key file that is not a PKCS#8 ed25519 private key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a PKCS#8 PEM ed25519 private key")]
pub struct BadKey;

impl Identity {
    /// The key pair of a 32-byte secret seed; the caller brings the randomness.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self { key: SigningKey::from_bytes(&seed) }
    }

    /// The secret seed, for building the libp2p key pair; never to be shown.
    pub fn seed(&self) -> [u8; 32] {
        self.key.to_bytes()
    }

    /// Reads a PKCS#8 PEM document.
    pub fn from_pem(pem: &str) -> Result<Self, BadKey> {
        SigningKey::from_pkcs8_pem(pem).map(|key| Self { key }).map_err(|_| BadKey)
    }

    /// Writes a PKCS#8 PEM document, to be stored with mode 0600.
    pub fn to_pem(&self) -> String {
        // Version 1 (no public key inside): OpenSSL refuses version 2 for ed25519.
        let pair = KeypairBytes { secret_key: self.key.to_bytes(), public_key: None };
        let pem = pair.to_pkcs8_pem(LineEnding::LF).expect("a 32-byte key always encodes");
        pem.as_str().to_owned()
    }

    /// The public half: who this is.
    pub fn member(&self) -> MemberId {
        MemberId(self.key.verifying_key().to_bytes())
    }

    /// Signs `message`.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.key.sign(message).to_bytes()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.member().short())
    }
}

/// A public key as a PEM document (SubjectPublicKeyInfo), as `openssl` writes it; `None` if it is
/// none.
pub fn public_pem(member: &MemberId) -> Option<String> {
    let key = VerifyingKey::from_bytes(&member.0).ok()?;
    key.to_public_key_pem(LineEnding::LF).ok()
}

/// Whether `signature` over `message` is `member`'s; strict: no malleable form, no weak key.
pub fn verify(member: &MemberId, message: &[u8], signature: &[u8]) -> bool {
    let (Ok(key), Ok(signature)) =
        (VerifyingKey::from_bytes(&member.0), Signature::from_slice(signature))
    else {
        return false;
    };
    key.verify_strict(message, &signature).is_ok()
}

/// Whether these bytes are an ed25519 public key that can verify anything safely.
pub fn is_public_key(member: &MemberId) -> bool {
    VerifyingKey::from_bytes(&member.0).is_ok_and(|key| !key.is_weak())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pem_round_trips() {
        let identity = Identity::from_seed([7; 32]);
        let again = Identity::from_pem(&identity.to_pem()).unwrap();
        assert_eq!(again.member(), identity.member());
        assert!(identity.to_pem().starts_with("-----BEGIN PRIVATE KEY-----"));
    }

    #[test]
    fn a_signature_verifies_only_for_its_signer_and_message() {
        let (a, b) = (Identity::from_seed([1; 32]), Identity::from_seed([2; 32]));
        let signature = a.sign(b"x");
        assert!(verify(&a.member(), b"x", &signature));
        assert!(!verify(&a.member(), b"y", &signature));
        assert!(!verify(&b.member(), b"x", &signature));
        assert!(!verify(&a.member(), b"x", &signature[..63]));
    }

    #[test]
    fn garbage_is_not_a_key() {
        assert_eq!(Identity::from_pem("nonsense").unwrap_err(), BadKey);
    }
}
