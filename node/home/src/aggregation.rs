//! What a round's deltas come to: the same arithmetic for the member that aggregates, for those
//! that check it before they vote, and for an auditor later. Plain numbers on the host, without
//! Burn; must never depend on whose home it runs in.

use std::sync::Arc;

use witan_adapter::aggregate;
use witan_adapter::delta::Form;
use witan_adapter::strategy::Server;
use witan_adapter::{Adapter, AdapterError, Codec, Committed, Strategy};
use witan_files::Blobs;
use witan_protocol::digest::BlobRef;
use witan_protocol::federation::{self, Compression, Training};
use witan_protocol::io::{Aggregate, AggregateInput};
use witan_protocol::member::{MemberId, Round};
use witan_protocol::wire::LayerError;

use crate::failure::Failure;

/// What all members agreed on of the arithmetic.
#[derive(Clone, Debug)]
pub struct Aggregation {
    /// The adapter before round 1, the same on every member.
    pub initial: Arc<Adapter>,
    /// How deltas are combined.
    pub strategy: Strategy,
    /// How deltas are written.
    pub codec: Codec,
}

/// One aggregate to compute again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AggregateCheck {
    /// The round.
    pub round: Round,
    /// The adapter it started from; stored and intact.
    pub start: BlobRef,
    /// The deltas, in roster order; stored and intact.
    pub inputs: Vec<AggregateInput>,
}

/// The members whose deltas cannot be used, and why.
pub type Unusable = Vec<(MemberId, String)>;

impl Aggregation {
    /// The one a federation agreed on.
    pub fn new(initial: Arc<Adapter>, training: &Training) -> Self {
        let (strategy, codec) = (strategy_of(training.strategy), codec_of(training.compression));
        Self { initial, strategy, codec }
    }

    /// The adapter before round 1, as its blob is named.
    pub fn start(&self) -> BlobRef {
        BlobRef::of(&self.initial.to_bytes())
    }

    /// What both ends know of a delta of `round` from `start`.
    pub fn form<'a>(&self, round: Round, start: &'a Adapter) -> Form<'a> {
        Form { start, strategy: self.strategy, round: round.0, codec: self.codec }
    }

    /// Reads what a round committed.
    ///
    /// # Errors
    /// If the bytes are not what this federation commits.
    pub fn committed(&self, bytes: &[u8]) -> Result<Committed, AdapterError> {
        Committed::from_bytes(bytes, &self.initial, &self.strategy)
    }

    /// Reads a stored blob as what a round committed.
    ///
    /// # Errors
    /// If it is not stored, or not what this federation commits.
    pub fn read(&self, blobs: &Blobs, blob: &BlobRef) -> Result<Committed, Failure> {
        self.committed(&blobs.read(blob)?)
            .map_err(|error| Failure::input(format!("adapter {}: {error}", blob.digest.short())))
    }

    /// The aggregate of `inputs`, stored; or the members whose deltas cannot be used.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn aggregate(
        &self,
        blobs: &Blobs,
        round: Round,
        start: &BlobRef,
        inputs: &[AggregateInput],
    ) -> Result<Result<Aggregate, Unusable>, Failure> {
        let start = self.read(blobs, start)?;
        let form = self.form(round, &start.adapter);
        let mut deltas = Vec::with_capacity(inputs.len());
        let mut unusable = Unusable::new();
        for input in inputs {
            match form.decode(&blobs.read(&input.delta)?) {
                Ok(delta) => deltas.push((input.weight, delta)),
                Err(error) => unusable.push((input.member, error.to_string())),
            }
        }
        if !unusable.is_empty() {
            return Ok(Err(unusable));
        }
        let weighted: Vec<_> = deltas.iter().map(|(weight, delta)| (*weight, delta)).collect();
        let found = aggregate::aggregate(&self.strategy, &start, &weighted)
            .map_err(|error| Failure::input(format!("cannot aggregate: {error}")))?;
        let layers = found.naive_error.iter();
        let naive_error =
            layers.map(|layer| LayerError { error: layer.error, norm: layer.norm }).collect();
        let result = blobs.put(&found.committed.to_bytes())?;
        Ok(Ok(Aggregate { result, naive_error }))
    }

    /// The aggregate that a record claims, computed again.
    ///
    /// # Errors
    /// If the disk refuses, or a delta that was voted on cannot be used.
    pub fn recompute(&self, blobs: &Blobs, check: &AggregateCheck) -> Result<Aggregate, Failure> {
        self.aggregate(blobs, check.round, &check.start, &check.inputs)?.map_err(|unusable| {
            let (member, because) = &unusable[0];
            Failure::input(format!("the delta of {} is unusable: {because}", member.short()))
        })
    }
}

/// A federation's strategy in the adapter's terms.
pub fn strategy_of(strategy: federation::Strategy) -> Strategy {
    use federation::Strategy as Agreed;
    let members = |count| usize::try_from(count).expect("a number of members fits");
    match strategy {
        Agreed::FedAvg => Strategy::FedAvg,
        Agreed::FedProx { mu } => Strategy::FedProx { mu },
        Agreed::FedAvgM { momentum } => Strategy::FedAvgM { momentum },
        Agreed::FedOpt { server, rate } => {
            let server = match server {
                federation::Server::Adam => Server::Adam,
                federation::Server::Yogi => Server::Yogi,
            };
            Strategy::FedOpt { server, rate }
        }
        Agreed::Ffa => Strategy::Ffa,
        Agreed::RoLora => Strategy::RoLora,
        Agreed::FedEx => Strategy::FedEx,
        Agreed::FlexLora => Strategy::FlexLora,
        Agreed::NormClip { factor } => Strategy::NormClip { factor },
        Agreed::TrimmedMean { trim } => Strategy::TrimmedMean { trim: members(trim) },
        Agreed::GeometricMedian => Strategy::GeometricMedian,
        Agreed::MultiKrum { f } => Strategy::MultiKrum { f: members(f) },
    }
}

/// A federation's compression in the adapter's terms.
pub fn codec_of(compression: Compression) -> Codec {
    match compression {
        Compression::None => Codec::Float32,
        Compression::Bf16 => Codec::Bf16,
        Compression::Int8 => Codec::Int8,
        Compression::TopK { keep } => Codec::TopK { keep },
    }
}
