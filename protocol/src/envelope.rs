//! Signed envelopes: each message is one COSE_Sign1 (RFC 9052), so any COSE library can check it.
//!
//! ```text
//! 18([ protected: << { 1: -8 (EdDSA), 3: "witan/<kind>", 4: signer's ed25519 public key } >>,
//!      unprotected: {},
//!      payload: << canonical CBOR of the message >>,
//!      signature ])            external AAD: "witan/1/<kind>" ‖ FederationId (32 bytes)
//! ```
//!
//! There is one encoding: [`open`] rebuilds the envelope from its parts and refuses anything else.
//! A signature covers kind, federation, signer and payload; nothing unsigned is ever decoded into a
//! message. Limits: 32 KiB a message, 64 KiB for a certified record, which is never gossiped.

use coset::{CborSerializable, CoseSign1, CoseSign1Builder, HeaderBuilder, TaggedCborSerializable};
use coset::{ContentType, iana};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec::{self, DecodeError};
use crate::digest::Digest;
use crate::federation::FederationId;
use crate::identity::{self, Identity};
use crate::io::Kind;
use crate::member::MemberId;
use crate::message::Message;
use crate::roster::Roster;

/// Bytes an envelope may have: a proposal with 64 update envelopes fits.
pub const ENVELOPE_BYTES_MAX: usize = 32 * 1024;

/// Bytes an envelope with a certified record may have; it goes to one peer, never by gossip.
pub const RECORD_BYTES_MAX: usize = 64 * 1024;

/// A message whose signature has been checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Verified<T> {
    /// Who signed.
    pub signer: MemberId,
    /// What it signed.
    pub message: T,
    /// Its 64-byte signature.
    pub signature: [u8; 64],
}

/// Why bytes from a peer were refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Too many bytes.
    #[error("{found} bytes, at most {max} allowed")]
    TooLong {
        /// Bytes received.
        found: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// Not a COSE_Sign1 of the form above.
    #[error("not a signed envelope")]
    Malformed,
    /// Signed by somebody who is not in the roster.
    #[error("signed by {}, who is not a member", .0.short())]
    Stranger(MemberId),
    /// The signature is wrong for this signer, kind and federation.
    #[error("bad signature in the name of {}", .0.short())]
    BadSignature(MemberId),
    /// Well signed, but the payload is not a message of its kind.
    #[error("payload: {0}")]
    Payload(DecodeError),
}

/// Signs a message.
pub fn seal(identity: &Identity, federation: FederationId, message: &Message) -> Vec<u8> {
    let (kind, payload) = (message.kind(), payload_of(message));
    let signature = identity.sign(&signed_bytes(kind, federation, identity.member(), &payload));
    assemble(kind, identity.member(), payload, &signature)
}

/// The signature alone, for messages whose envelope is put together later by [`reseal`].
pub fn sign(identity: &Identity, federation: FederationId, message: &Message) -> [u8; 64] {
    let payload = payload_of(message);
    identity.sign(&signed_bytes(message.kind(), federation, identity.member(), &payload))
}

/// The envelope of a message whose signature is already known: the inverse of opening it.
pub fn reseal(member: MemberId, message: &Message, signature: &[u8; 64]) -> Vec<u8> {
    assemble(message.kind(), member, payload_of(message), signature)
}

/// Checks an envelope and reads its message. Nothing is decoded before its signature is checked.
pub fn open(bytes: &[u8], roster: &Roster) -> Result<Verified<Message>, Refusal> {
    let max = RECORD_BYTES_MAX;
    if bytes.len() > max {
        return Err(Refusal::TooLong { found: bytes.len(), max });
    }
    let envelope = CoseSign1::from_tagged_slice(bytes).map_err(|_| Refusal::Malformed)?;
    let (kind, signer) = header_of(&envelope).ok_or(Refusal::Malformed)?;
    let max = if kind == Kind::Record { RECORD_BYTES_MAX } else { ENVELOPE_BYTES_MAX };
    if bytes.len() > max {
        return Err(Refusal::TooLong { found: bytes.len(), max });
    }
    let payload = envelope.payload.ok_or(Refusal::Malformed)?;
    let signature: [u8; 64] = envelope.signature.try_into().map_err(|_| Refusal::Malformed)?;
    if !roster.contains(&signer) {
        return Err(Refusal::Stranger(signer));
    }
    let signed = signed_bytes(kind, roster.federation(), signer, &payload);
    if !identity::verify(&signer, &signed, &signature) {
        return Err(Refusal::BadSignature(signer));
    }
    let message = read(kind, &payload).map_err(Refusal::Payload)?;
    if assemble(kind, signer, payload, &signature) != bytes {
        return Err(Refusal::Malformed);
    }
    Ok(Verified { signer, message, signature })
}

/// The kind an envelope claims, unverified: for telling what was refused.
pub fn claimed_kind(bytes: &[u8]) -> Option<Kind> {
    if bytes.len() > RECORD_BYTES_MAX {
        return None;
    }
    header_of(&CoseSign1::from_tagged_slice(bytes).ok()?).map(|(kind, _)| kind)
}

/// Whether `signature` is `member`'s under `message`: how a certificate's votes are checked.
pub fn is_signed(
    member: &MemberId,
    federation: FederationId,
    message: &Message,
    signature: &[u8; 64],
) -> bool {
    let signed = signed_bytes(message.kind(), federation, *member, &payload_of(message));
    identity::verify(member, &signed, signature)
}

/// Names an envelope.
pub fn digest(bytes: &[u8]) -> Digest {
    Digest::of(bytes)
}

/// The name of a kind in headers and domains.
pub fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Progress => "progress",
        Kind::Update => "update",
        Kind::Proposal => "proposal",
        Kind::Vote => "vote",
        Kind::Objection => "objection",
        Kind::Holdings => "holdings",
        Kind::Record => "record",
    }
}

fn header(kind: Kind, signer: MemberId) -> coset::Header {
    HeaderBuilder::new()
        .algorithm(iana::Algorithm::EdDSA)
        .content_type(format!("witan/{}", kind_name(kind)))
        .key_id(signer.0.to_vec())
        .build()
}

fn header_of(envelope: &CoseSign1) -> Option<(Kind, MemberId)> {
    let header = &envelope.protected.header;
    let Some(ContentType::Text(content)) = &header.content_type else {
        return None;
    };
    let name = content.strip_prefix("witan/")?;
    let kind = KINDS.into_iter().find(|kind| kind_name(*kind) == name)?;
    let signer = MemberId(header.key_id.as_slice().try_into().ok()?);
    Some((kind, signer))
}

fn assemble(kind: Kind, signer: MemberId, payload: Vec<u8>, signature: &[u8; 64]) -> Vec<u8> {
    CoseSign1Builder::new()
        .protected(header(kind, signer))
        .payload(payload)
        .signature(signature.to_vec())
        .build()
        .to_tagged_vec()
        .expect("an envelope of plain bytes always encodes")
}

/// RFC 9052's Sig_structure: what is actually signed.
fn signed_bytes(kind: Kind, id: FederationId, signer: MemberId, payload: &[u8]) -> Vec<u8> {
    let protected = header(kind, signer).to_vec().expect("a header of plain bytes always encodes");
    let mut aad = format!("witan/1/{}", kind_name(kind)).into_bytes();
    aad.extend_from_slice(&id.0.0);
    let structure = (
        "Signature1",
        serde_bytes::Bytes::new(&protected),
        serde_bytes::Bytes::new(&aad),
        serde_bytes::Bytes::new(payload),
    );
    codec::encode(&structure)
}

fn payload_of(message: &Message) -> Vec<u8> {
    match message {
        Message::Progress(m) => codec::encode(m),
        Message::Update(m) => codec::encode(m),
        Message::Motion(m) => codec::encode(m),
        Message::Vote(m) => codec::encode(m),
        Message::Objection(m) => codec::encode(m),
        Message::Holdings(m) => codec::encode(m),
        Message::Certified(m) => codec::encode(m),
    }
}

fn read(kind: Kind, payload: &[u8]) -> Result<Message, DecodeError> {
    fn as_one<T: Serialize + DeserializeOwned>(payload: &[u8]) -> Result<T, DecodeError> {
        codec::decode(payload, RECORD_BYTES_MAX)
    }
    Ok(match kind {
        Kind::Progress => Message::Progress(as_one(payload)?),
        Kind::Update => Message::Update(as_one(payload)?),
        Kind::Proposal => Message::Motion(as_one(payload)?),
        Kind::Vote => Message::Vote(as_one(payload)?),
        Kind::Objection => Message::Objection(as_one(payload)?),
        Kind::Holdings => Message::Holdings(as_one(payload)?),
        Kind::Record => Message::Certified(as_one(payload)?),
    })
}

const KINDS: [Kind; 7] = [
    Kind::Progress,
    Kind::Update,
    Kind::Proposal,
    Kind::Vote,
    Kind::Objection,
    Kind::Holdings,
    Kind::Record,
];
