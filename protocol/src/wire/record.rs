//! The round record: what the members agreed on, with everything an auditor needs to check it.
//!
//! The aggregator sets every field of a [`Proposal`]; before they vote, all other members check
//! each against the ledger ([`crate::ledger::check_proposal`]) and against what they compute
//! themselves.

use serde::{Deserialize, Serialize};

use super::ballot::Decision;
use super::evidence::Evidence;
use super::objection::Refutation;
use super::signature::MemberSignature;
use crate::codec;
use crate::digest::{BlobRef, Digest};
use crate::member::{MemberId, Round, View};

/// One member's update in a record, exactly as it signed it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Contribution {
    /// Who signed.
    pub member: MemberId,
    /// The received COSE_Sign1 bytes, so that anyone can check them again.
    #[serde(with = "serde_bytes")]
    pub envelope: Vec<u8>,
}

/// Why a member of the roster is not among the contributors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Absence {
    /// No update had arrived when the round closed.
    NoUpdate,
    /// The update cannot be used; the reason says which field was wrong.
    Refused {
        /// What was wrong, in a few words.
        because: String,
    },
    /// No update had arrived; this one, of a round that closed without it, counts in its place.
    Late {
        /// The received COSE_Sign1 bytes.
        #[serde(with = "serde_bytes")]
        envelope: Vec<u8>,
    },
}

/// A member of the roster that is not among the contributors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Absent {
    /// Who.
    pub member: MemberId,
    /// Why.
    pub why: Absence,
    /// A heartbeat it signed in this round, in its envelope, if the aggregator has one: proof that
    /// the member was there without an update. Never beside a late update: 64 of both fit no
    /// message.
    #[serde(with = "serde_bytes")]
    pub heard: Option<Vec<u8>>,
}

/// What the elected aggregator proposes, and what the votes are about. Its digest is the record's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Proposal {
    /// The round it closes: the next one of the ledger.
    pub round: Round,
    /// The view it was first made in. A later view may commit it: the certificate says which.
    pub view: View,
    /// Who made it; the aggregator that the ledger elects for that view.
    pub aggregator: MemberId,
    /// The views before that one, which decided nothing; who may lead later rounds follows from it.
    pub failed_views: Vec<FailedView>,
    /// The digest of the record before it: the chain.
    pub previous: Digest,
    /// The adapter the round started from: the ledger's committed one.
    pub start: BlobRef,
    /// The updates used, in roster order.
    pub included: Vec<Contribution>,
    /// Everyone else, in roster order, with the reason.
    pub absent: Vec<Absent>,
    /// Proofs of equivocation: these members lead no view of a later round.
    pub evidence: Vec<Evidence>,
    /// Proof that the aggregate proposed in one of the failed views was wrong.
    pub refutation: Option<Box<Refutation>>,
    /// A change of the roster that the members decided; in force from the next round.
    pub decision: Option<Box<Decision>>,
    /// The aggregation strategy with its numbers; must be `training.strategy`.
    pub strategy: String,
    /// The aggregate, which every member recomputes: the adapter everyone adopts.
    pub result: BlobRef,
    /// The error of averaging the factors separately, by layer in name order; recomputed too.
    #[serde(with = "layer_bytes")]
    pub naive_error: Vec<LayerError>,
}

/// How far the product of the mean factors is from the mean of the products, in one layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LayerError {
    /// The Frobenius norm of mean(BA) − mean(B)·mean(A).
    pub error: f32,
    /// That of mean(BA).
    pub norm: f32,
}

/// A view that decided nothing, and who led it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedView {
    /// Which view.
    pub view: View,
    /// Its aggregator, who may not lead until it has contributed again.
    pub aggregator: MemberId,
}

/// A quorum of precommits: the proof that a proposal was committed.
///
/// To check one with any COSE library: the payload is the canonical CBOR of
/// `{"round": r, "view": v, "step": "precommit", "value": digest}`, where the digest is the
/// proposal's; the protected header is `{1: -8, 3: "witan/vote", 4: member}`; the external AAD is
/// `"witan/1/vote"` followed by the 32 bytes of the FederationId.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// The view whose precommits these are; at least that of the proposal.
    pub view: View,
    /// At least a quorum of distinct members, in roster order.
    pub signatures: Vec<MemberSignature>,
}

/// One link of the ledger: a proposal and the proof that it was committed.
///
/// The digest of a record is that of its proposal: members may hold different quorums of the same
/// decision, so the certificate is beside the chain, not part of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RoundRecord {
    /// What was agreed on.
    pub proposal: Proposal,
    /// The proof.
    pub certificate: Certificate,
}

impl Proposal {
    /// All updates that count, as signed: those of its round, then the late ones.
    pub fn counted(&self) -> impl Iterator<Item = (&MemberId, &[u8])> {
        let included = self.included.iter().map(|part| (&part.member, part.envelope.as_slice()));
        included.chain(self.late())
    }

    /// The late updates that count, as signed, in roster order.
    pub fn late(&self) -> impl Iterator<Item = (&MemberId, &[u8])> {
        self.absent.iter().filter_map(|absent| match &absent.why {
            Absence::Late { envelope } => Some((&absent.member, envelope.as_slice())),
            _ => None,
        })
    }

    /// The digest the votes are about, and by which the next record names this one.
    pub fn digest(&self) -> Digest {
        Digest::of_kind("witan 1 proposal", &codec::encode(self))
    }
}

impl RoundRecord {
    /// The digest of the record: the ledger head after it.
    pub fn digest(&self) -> Digest {
        self.proposal.digest()
    }

    /// The canonical bytes, as stored and sent.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }
}

/// Eight bytes a layer, so that a proposal with 64 updates and hundreds of layers fits its
/// envelope.
mod layer_bytes {
    use serde::de::Error;
    use serde::{Deserializer, Serializer};

    use super::LayerError;

    pub(super) fn serialize<S: Serializer>(
        layers: &[LayerError],
        to: S,
    ) -> Result<S::Ok, S::Error> {
        let numbers = layers.iter().flat_map(|layer| [layer.error, layer.norm]);
        let bytes: Vec<u8> = numbers.flat_map(f32::to_le_bytes).collect();
        serde_bytes::serialize(&bytes, to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<LayerError>, D::Error> {
        let bytes: Vec<u8> = serde_bytes::deserialize(from)?;
        if !bytes.len().is_multiple_of(8) {
            return Err(D::Error::custom("naive_error is not 8 bytes a layer"));
        }
        let number = |at: &[u8]| f32::from_le_bytes([at[0], at[1], at[2], at[3]]);
        let layers = bytes.chunks_exact(8);
        Ok(layers.map(|at| LayerError { error: number(at), norm: number(&at[4..]) }).collect())
    }
}

/// Bytes of a refusal's reason in a record.
pub const REASON_BYTES_MAX: usize = 200;

/// Bytes of a heartbeat that is shown: the longest reason for sitting out fits.
pub const HEARD_BYTES_MAX: usize = 400;

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Layers(#[serde(with = "layer_bytes")] Vec<LayerError>);

    #[test]
    fn layers_travel_as_eight_bytes_each_and_nothing_else_is_read() {
        let layers = Layers(vec![LayerError { error: 0.5, norm: 2.0 }; 3]);
        let bytes = codec::encode(&layers);
        assert_eq!(bytes.len(), 2 + 24);
        assert_eq!(codec::decode::<Layers>(&bytes, 100), Ok(layers));
        let cut = codec::encode(&serde_bytes::ByteBuf::from(vec![0; 9]));
        assert!(codec::decode::<Layers>(&cut, 100).is_err());
    }
}
