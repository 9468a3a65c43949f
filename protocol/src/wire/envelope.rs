//! Signed envelopes: each message is one COSE_Sign1 (RFC 9052), so any COSE library can check it.
//!
//! ```text
//! 18([ protected: << { 1: -8 (EdDSA), 3: "witan/<kind>", 4: signer's ed25519 public key } >>,
//!      unprotected: {},    for a proposal: { "proposal": << its canonical CBOR >> }
//!      payload: << canonical CBOR of the message >>,
//!      signature ])            external AAD: "witan/1/<kind>" ‖ FederationId (32 bytes)
//! ```
//!
//! There is one encoding: [`open`] rebuilds the envelope from its parts and refuses anything else.
//! A signature covers kind, federation, signer and payload; nothing unsigned is ever decoded into a
//! message, except a proposal, which must have the digest that the signed payload names: so the
//! proof that somebody proposed two things needs neither of them. Limits: 48 KiB a message, 64 KiB
//! for a certified record, which is never gossiped.

use ciborium::Value;
use coset::{CborSerializable, CoseSign1, CoseSign1Builder, HeaderBuilder, TaggedCborSerializable};
use coset::{ContentType, iana};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::message::{Kind, Message, ProposalHead, ProposalMessage};
use super::record::Proposal;
use super::signature::Verified;
use super::update::Update;
use super::vote::Vote;
use crate::codec::{self, DecodeError};
use crate::digest::Digest;
use crate::federation::{FederationId, Roster};
use crate::identity::{self, Identity};
use crate::member::MemberId;

/// Bytes an envelope may have: the largest proposal of 64 members fits.
pub const ENVELOPE_BYTES_MAX: usize = 48 * 1024;

/// Bytes an envelope with a certified record may have; it goes to one peer, never by gossip.
pub const RECORD_BYTES_MAX: usize = 64 * 1024;

/// An envelope from a peer with its message, or with why it is refused. Opening needs no roster,
/// only the federation: it is done beside the loop that drives a participant, which checks that the
/// signer is a member.
#[derive(Clone, Debug, PartialEq)]
pub struct Opened {
    federation: FederationId,
    bytes: Vec<u8>,
    message: Result<Verified<Message>, Refusal>,
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
    /// The signature is good, but the payload is not a message of its kind.
    #[error("payload: {0}")]
    Payload(DecodeError),
    /// The signature is good, but the proposal beside it does not have the signed digest.
    #[error("the proposal does not have the digest that was signed")]
    Proposal,
}

/// A message that a member may sign only once: the signed part, without what travels beside it.
#[derive(Clone, Debug, PartialEq)]
pub enum Claim {
    /// An update.
    Update(Update),
    /// What is signed of a proposal.
    Proposal(ProposalHead),
    /// A vote.
    Vote(Vote),
}

/// The parts of an envelope whose signature holds.
struct Parts {
    kind: Kind,
    signer: MemberId,
    payload: Vec<u8>,
    signature: [u8; 64],
    beside: Option<Vec<u8>>,
}

impl Opened {
    /// Opens an envelope: checks everything but that its signer is a member.
    pub fn new(bytes: Vec<u8>, federation: FederationId) -> Self {
        let message = check(&bytes, federation).and_then(Parts::read);
        Self { federation, bytes, message }
    }

    /// The federation it was opened for.
    pub fn federation(&self) -> FederationId {
        self.federation
    }

    /// The envelope.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Its message, or why it is refused.
    pub fn message(&self) -> Result<&Verified<Message>, &Refusal> {
        self.message.as_ref()
    }

    /// The envelope and its message.
    pub(crate) fn into_parts(self) -> (Vec<u8>, Result<Verified<Message>, Refusal>) {
        (self.bytes, self.message)
    }
}

/// The signed envelope of a message.
pub fn seal(identity: &Identity, federation: FederationId, message: &Message) -> Vec<u8> {
    let (kind, payload) = (message.kind(), payload_of(message));
    let signature = identity.sign(&signed_bytes(kind, federation, identity.member(), &payload));
    assemble(kind, identity.member(), payload, &signature, beside_of(message))
}

/// The signature alone, for messages whose envelope is made later by [`reseal`].
pub fn sign(identity: &Identity, federation: FederationId, message: &Message) -> [u8; 64] {
    let payload = payload_of(message);
    identity.sign(&signed_bytes(message.kind(), federation, identity.member(), &payload))
}

/// The envelope of a message whose signature is already known: the inverse of opening it.
pub fn reseal(member: MemberId, message: &Message, signature: &[u8; 64]) -> Vec<u8> {
    assemble(message.kind(), member, payload_of(message), signature, beside_of(message))
}

/// The envelope of a message's signed part alone: the inverse of [`open_claim`].
pub fn reseal_claim(member: MemberId, message: &Message, signature: &[u8; 64]) -> Vec<u8> {
    assemble(message.kind(), member, payload_of(message), signature, None)
}

/// Checks an envelope and reads its message. Nothing is decoded before its signature is checked.
pub fn open(bytes: &[u8], roster: &Roster) -> Result<Verified<Message>, Refusal> {
    check_member(bytes, roster)?.read()
}

/// The update in an envelope, if `roster` opens it and it holds one.
pub fn open_update(bytes: &[u8], roster: &Roster) -> Option<Update> {
    match open(bytes, roster).ok()?.message {
        Message::Update(update) => Some(update),
        _ => None,
    }
}

/// Checks the envelope of a signed part alone: see [`Claim`].
pub fn open_claim(bytes: &[u8], roster: &Roster) -> Result<Verified<Claim>, Refusal> {
    let Parts { kind, signer, payload, signature, beside } = check_member(bytes, roster)?;
    let claim = match (kind, beside) {
        (Kind::Update, None) => Claim::Update(as_one(&payload)?),
        (Kind::Proposal, None) => Claim::Proposal(as_one(&payload)?),
        (Kind::Vote, None) => Claim::Vote(as_one(&payload)?),
        _ => return Err(Refusal::Malformed),
    };
    Ok(Verified { signer, message: claim, signature })
}

/// Checks everything about an envelope but its message.
fn check_member(bytes: &[u8], roster: &Roster) -> Result<Parts, Refusal> {
    let parts = check(bytes, roster.federation())?;
    if roster.contains(&parts.signer) { Ok(parts) } else { Err(Refusal::Stranger(parts.signer)) }
}

/// The same, whoever signed.
fn check(bytes: &[u8], federation: FederationId) -> Result<Parts, Refusal> {
    let too_long = |max| Refusal::TooLong { found: bytes.len(), max };
    if bytes.len() > RECORD_BYTES_MAX {
        return Err(too_long(RECORD_BYTES_MAX));
    }
    let envelope = CoseSign1::from_tagged_slice(bytes).map_err(|_| Refusal::Malformed)?;
    let (kind, signer) = header_of(&envelope).ok_or(Refusal::Malformed)?;
    if kind != Kind::Record && bytes.len() > ENVELOPE_BYTES_MAX {
        return Err(too_long(ENVELOPE_BYTES_MAX));
    }
    let beside = match envelope.unprotected.rest.into_iter().next() {
        Some((_, Value::Bytes(beside))) if kind == Kind::Proposal => Some(beside),
        Some(_) => return Err(Refusal::Malformed),
        None => None,
    };
    let payload = envelope.payload.ok_or(Refusal::Malformed)?;
    let signature: [u8; 64] = envelope.signature.try_into().map_err(|_| Refusal::Malformed)?;
    let signed = signed_bytes(kind, federation, signer, &payload);
    if !identity::verify(&signer, &signed, &signature) {
        return Err(Refusal::BadSignature(signer));
    }
    if assemble(kind, signer, payload.clone(), &signature, beside.clone()) != bytes {
        return Err(Refusal::Malformed);
    }
    Ok(Parts { kind, signer, payload, signature, beside })
}

impl Parts {
    /// Reads the message.
    fn read(self) -> Result<Verified<Message>, Refusal> {
        let message = read(self.kind, &self.payload, self.beside.as_deref())?;
        Ok(Verified { signer: self.signer, message, signature: self.signature })
    }
}

/// The kind an envelope claims to be, unverified: to report what was refused.
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

fn header(kind: Kind, signer: MemberId) -> coset::Header {
    HeaderBuilder::new()
        .algorithm(iana::Algorithm::EdDSA)
        .content_type(format!("witan/{}", kind.name()))
        .key_id(signer.0.to_vec())
        .build()
}

fn header_of(envelope: &CoseSign1) -> Option<(Kind, MemberId)> {
    let header = &envelope.protected.header;
    let Some(ContentType::Text(content)) = &header.content_type else {
        return None;
    };
    let name = content.strip_prefix("witan/")?;
    let kind = Kind::ALL.into_iter().find(|kind| kind.name() == name)?;
    let signer = MemberId(header.key_id.as_slice().try_into().ok()?);
    Some((kind, signer))
}

fn assemble(
    kind: Kind,
    signer: MemberId,
    payload: Vec<u8>,
    signature: &[u8; 64],
    beside: Option<Vec<u8>>,
) -> Vec<u8> {
    let unprotected = beside.into_iter().fold(HeaderBuilder::new(), |header, beside| {
        header.text_value(BESIDE.to_owned(), Value::Bytes(beside))
    });
    CoseSign1Builder::new()
        .protected(header(kind, signer))
        .unprotected(unprotected.build())
        .payload(payload)
        .signature(signature.to_vec())
        .build()
        .to_tagged_vec()
        .expect("an envelope of plain bytes always encodes")
}

/// RFC 9052's Sig_structure: what is actually signed.
fn signed_bytes(kind: Kind, id: FederationId, signer: MemberId, payload: &[u8]) -> Vec<u8> {
    let protected = header(kind, signer).to_vec().expect("a header of plain bytes always encodes");
    let mut aad = format!("witan/1/{}", kind.name()).into_bytes();
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
        Message::Heartbeat(m) => codec::encode(m),
        Message::Update(m) => codec::encode(m),
        Message::Proposal(m) => codec::encode(&m.head()),
        Message::Vote(m) => codec::encode(m),
        Message::Objection(m) => codec::encode(m),
        Message::Holdings(m) => codec::encode(m),
        Message::Record(m) => codec::encode(m),
        Message::Polka(m) => codec::encode(m),
        Message::Evidence(m) => codec::encode(m),
        Message::Ballot(m) => codec::encode(m),
    }
}

/// What travels beside the signed part: a proposal.
fn beside_of(message: &Message) -> Option<Vec<u8>> {
    match message {
        Message::Proposal(message) => Some(codec::encode(&message.proposal)),
        _ => None,
    }
}

fn read(kind: Kind, payload: &[u8], beside: Option<&[u8]>) -> Result<Message, Refusal> {
    Ok(match kind {
        Kind::Heartbeat => Message::Heartbeat(as_one(payload)?),
        Kind::Update => Message::Update(as_one(payload)?),
        Kind::Proposal => Message::Proposal(read_proposal(payload, beside)?),
        Kind::Vote => Message::Vote(as_one(payload)?),
        Kind::Objection => Message::Objection(as_one(payload)?),
        Kind::Holdings => Message::Holdings(as_one(payload)?),
        Kind::Record => Message::Record(as_one(payload)?),
        Kind::Polka => Message::Polka(as_one(payload)?),
        Kind::Evidence => Message::Evidence(as_one(payload)?),
        Kind::Ballot => Message::Ballot(as_one(payload)?),
    })
}

fn read_proposal(payload: &[u8], beside: Option<&[u8]>) -> Result<ProposalMessage, Refusal> {
    let head: ProposalHead = as_one(payload)?;
    let proposal: Proposal = as_one(beside.ok_or(Refusal::Proposal)?)?;
    let message = ProposalMessage { view: head.view, valid_view: head.valid_view, proposal };
    if message.head() == head { Ok(message) } else { Err(Refusal::Proposal) }
}

fn as_one<T: Serialize + DeserializeOwned>(payload: &[u8]) -> Result<T, Refusal> {
    codec::decode(payload, RECORD_BYTES_MAX).map_err(Refusal::Payload)
}

/// The header under which a proposal travels.
const BESIDE: &str = "proposal";
