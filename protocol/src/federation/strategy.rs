//! How updates are combined, and what that asks of training: parsed here, computed by the model.
//!
//! `docs/STRATEGIES.md` has each one's formula, paper and use. In the federation file, on the
//! command line and in every record a strategy is one text, such as `fedprox:mu=0.01`, with all its
//! numbers.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::choice::{Choice, ChoiceError};

/// A strategy with its numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Strategy {
    /// The mean of both factors, weighted by steps.
    #[default]
    FedAvg,
    /// FedAvg with a proximal term in local training.
    FedProx {
        /// Weight of the proximal term; 0 is FedAvg.
        mu: f64,
    },
    /// FedAvg with server momentum.
    FedAvgM {
        /// The momentum; 0 is FedAvg.
        momentum: f64,
    },
    /// The mean change as the gradient of a server optimizer.
    FedOpt {
        /// Which optimizer.
        server: Server,
        /// The server's learning rate.
        rate: f64,
    },
    /// A frozen at its first values: exact, half the bytes.
    Ffa,
    /// B in odd rounds, A in even ones: exact, half the bytes.
    RoLora,
    /// The means, and what they miss of the mean product added to the base.
    FedEx,
    /// The mean product, split again; members may have lower ranks.
    FlexLora,
    /// The mean of products scaled down to the norm of most.
    NormClip {
        /// Times the median norm: what no member's change exceeds.
        factor: f64,
    },
    /// The mean of each number of the product without its extremes.
    TrimmedMean {
        /// How many are dropped at each end.
        trim: u32,
    },
    /// The product nearest to all.
    GeometricMedian,
    /// The mean of the products that have the nearest neighbours.
    MultiKrum {
        /// How many members may be hostile.
        f: u32,
    },
}

/// The server's optimizer, by its second moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    /// A decaying mean of squares.
    Adam,
    /// Moves toward the square by no more than the square.
    Yogi,
}

impl Strategy {
    /// Every name, in the order of `docs/STRATEGIES.md`.
    pub const NAMES: [&str; 13] = [
        "fedavg",
        "fedprox",
        "fedavgm",
        "fedadam",
        "fedyogi",
        "ffa",
        "rolora",
        "fedex",
        "flexlora",
        "norm-clip",
        "trimmed-mean",
        "geometric-median",
        "multi-krum",
    ];

    /// The name without the numbers.
    pub fn name(&self) -> &'static str {
        match self {
            Self::FedAvg => "fedavg",
            Self::FedProx { .. } => "fedprox",
            Self::FedAvgM { .. } => "fedavgm",
            Self::FedOpt { server: Server::Adam, .. } => "fedadam",
            Self::FedOpt { server: Server::Yogi, .. } => "fedyogi",
            Self::Ffa => "ffa",
            Self::RoLora => "rolora",
            Self::FedEx => "fedex",
            Self::FlexLora => "flexlora",
            Self::NormClip { .. } => "norm-clip",
            Self::TrimmedMean { .. } => "trimmed-mean",
            Self::GeometricMedian => "geometric-median",
            Self::MultiKrum { .. } => "multi-krum",
        }
    }
}

impl Strategy {
    /// Whether a change trained from an older adapter can be added to a newer one with less weight:
    /// the strategy must use weights, and its factors must mean the same in every round.
    pub fn takes_late_updates(&self) -> bool {
        match self {
            Self::FedAvg
            | Self::FedProx { .. }
            | Self::FedAvgM { .. }
            | Self::FedOpt { .. }
            | Self::Ffa
            | Self::FedEx => true,
            // Factors alternate, or rotate with each split; the robust rules use no weights.
            Self::RoLora
            | Self::FlexLora
            | Self::NormClip { .. }
            | Self::TrimmedMean { .. }
            | Self::GeometricMedian
            | Self::MultiKrum { .. } => false,
        }
    }
}

impl FromStr for Strategy {
    type Err = ChoiceError;

    fn from_str(text: &str) -> Result<Self, ChoiceError> {
        let mut choice = Choice::read(text)?;
        let strategy = match choice.name.clone().as_str() {
            "fedavg" => Self::FedAvg,
            "fedadam" => Self::FedOpt { server: Server::Adam, rate: rate(&mut choice)? },
            "fedyogi" => Self::FedOpt { server: Server::Yogi, rate: rate(&mut choice)? },
            "fedprox" => Self::FedProx {
                mu: choice.number("mu", 0.01, "0 to 1000", |mu| (0.0..=1000.0).contains(&mu))?,
            },
            "fedavgm" => Self::FedAvgM {
                momentum: choice.number("momentum", 0.5, "0 to less than 1", |momentum| {
                    (0.0..1.0).contains(&momentum)
                })?,
            },
            "ffa" => Self::Ffa,
            "rolora" => Self::RoLora,
            "fedex" => Self::FedEx,
            "flexlora" => Self::FlexLora,
            "norm-clip" => Self::NormClip {
                factor: choice.number("factor", 1.0, "more than 0, at most 100", |factor| {
                    factor > 0.0 && factor <= 100.0
                })?,
            },
            "trimmed-mean" => Self::TrimmedMean { trim: count(&mut choice, "trim")? },
            "geometric-median" => Self::GeometricMedian,
            "multi-krum" => Self::MultiKrum { f: count(&mut choice, "f")? },
            _ => return Err(choice.unknown(&Self::NAMES)),
        };
        choice.end()?;
        Ok(strategy)
    }
}

fn rate(choice: &mut Choice) -> Result<f64, ChoiceError> {
    let fits = |rate: f64| rate > 0.0 && rate <= 10.0;
    choice.number("rate", 0.05, "more than 0, at most 10", fits)
}

/// A number of members. [default: 1]
fn count(choice: &mut Choice, key: &'static str) -> Result<u32, ChoiceError> {
    let fits = |number: f64| (0.0..=31.0).contains(&number) && number.fract() == 0.0;
    Ok(choice.number(key, 1.0, "a whole number, 0 to 31", fits)? as u32)
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::FedProx { mu } => write!(f, ":mu={mu}"),
            Self::FedAvgM { momentum } => write!(f, ":momentum={momentum}"),
            Self::FedOpt { rate, .. } => write!(f, ":rate={rate}"),
            Self::NormClip { factor } => write!(f, ":factor={factor}"),
            Self::TrimmedMean { trim } => write!(f, ":trim={trim}"),
            Self::MultiKrum { f: hostile } => write!(f, ":f={hostile}"),
            _ => Ok(()),
        }
    }
}

impl From<Strategy> for String {
    fn from(strategy: Strategy) -> Self {
        strategy.to_string()
    }
}

impl TryFrom<String> for Strategy {
    type Error = ChoiceError;

    fn try_from(text: String) -> Result<Self, ChoiceError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_parses_to_the_strategy_of_that_name_and_back() {
        for name in Strategy::NAMES {
            let strategy: Strategy = name.parse().unwrap();
            assert_eq!(strategy.name(), name);
            assert_eq!(strategy.to_string().parse(), Ok(strategy));
        }
    }

    #[test]
    fn defaults_are_written_out() {
        let said = |text: &str| text.parse::<Strategy>().unwrap().to_string();
        assert_eq!(said("fedprox"), "fedprox:mu=0.01");
        assert_eq!(said("multi-krum:f=3"), "multi-krum:f=3");
        assert_eq!(said("fedyogi:rate=0.5"), "fedyogi:rate=0.5");
    }

    #[test]
    fn what_is_unknown_twice_or_out_of_range_is_named() {
        let problem = |text: &str| text.parse::<Strategy>().unwrap_err().to_string();
        let magic = problem("magic");
        assert!(magic.starts_with("`magic` is unknown; known are fedavg, fedprox, "), "{magic}");
        assert_eq!(problem("fedavg:mu=1"), "fedavg has no number `mu`");
        assert_eq!(
            problem("fedprox:mu=1,mu=2"),
            "fedprox: `mu=2` is not key=number, each key once"
        );
        assert_eq!(problem("fedprox:"), "fedprox: `` is not key=number, each key once");
        assert_eq!(problem("fedprox:mu=-1"), "fedprox: mu is -1, expected 0 to 1000");
        assert_eq!(problem("fedprox:mu=NaN"), "fedprox: mu is NaN, expected 0 to 1000");
        assert_eq!(
            problem("multi-krum:f=1.5"),
            "multi-krum: f is 1.5, expected a whole number, 0 to 31"
        );
    }
}
