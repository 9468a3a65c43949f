//! Signatures with their signers, as records and messages hold them.

use serde::{Deserialize, Serialize};

use crate::member::MemberId;

/// One member's signature on a message that whoever checks it can put together: a vote of a
/// certificate or a polka, a yes ballot of a decision, an objection of a refutation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberSignature {
    /// Who signed.
    pub member: MemberId,
    /// The COSE_Sign1 signature of the message's envelope.
    #[serde(with = "serde_bytes")]
    pub signature: [u8; 64],
}

/// A message with its signature, which was checked on opening its envelope or made here.
#[derive(Clone, Debug, PartialEq)]
pub struct Verified<T> {
    /// Who signed.
    pub signer: MemberId,
    /// What it signed.
    pub message: T,
    /// Its 64-byte signature.
    pub signature: [u8; 64],
}

impl<T> Verified<T> {
    /// The signature with its signer, for a list of them.
    pub(crate) fn signed(&self) -> MemberSignature {
        MemberSignature { member: self.signer, signature: self.signature }
    }
}
