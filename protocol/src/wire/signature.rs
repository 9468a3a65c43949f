//! Signatures with their signers, as records and messages hold them.

use serde::{Deserialize, Serialize};

use crate::member::MemberId;

/// A member's precommit, reduced to its signature: the rest of the vote follows from the record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitSignature {
    /// Who voted.
    pub member: MemberId,
    /// The COSE_Sign1 signature of its precommit.
    #[serde(with = "serde_bytes")]
    pub signature: [u8; 64],
}

/// A message with its signature, which was checked on opening or made here.
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
    pub(crate) fn signed(&self) -> CommitSignature {
        CommitSignature { member: self.signer, signature: self.signature }
    }
}
