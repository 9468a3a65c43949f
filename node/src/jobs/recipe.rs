//! What a federation agreed on of strategy and codec, in the model's terms.

use witan_model::delta::Form;
use witan_model::strategy::Server;
use witan_model::{Adapter, Codec, Strategy};
use witan_protocol::federation::{self, Compression, Training};
use witan_protocol::member::Round;

/// How updates are written and combined.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Recipe {
    /// How they are combined.
    pub strategy: Strategy,
    /// How they are written.
    pub codec: Codec,
}

impl Recipe {
    /// The recipe of a federation file.
    pub fn of(training: &Training) -> Self {
        Self { strategy: strategy(training.strategy), codec: codec(training.compression) }
    }

    /// What both ends know of a delta of `round` from `start`.
    pub fn form<'a>(&self, round: Round, start: &'a Adapter) -> Form<'a> {
        Form { start, strategy: self.strategy, round: round.0, codec: self.codec }
    }
}

fn strategy(strategy: federation::Strategy) -> Strategy {
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

fn codec(compression: Compression) -> Codec {
    match compression {
        Compression::None => Codec::Float32,
        Compression::Bf16 => Codec::Bf16,
        Compression::Int8 => Codec::Int8,
        Compression::TopK { keep } => Codec::TopK { keep },
    }
}
