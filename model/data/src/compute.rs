//! Where a model computes, as a setting; `witan-model` opens the device.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compute {
    /// The processor.
    #[default]
    Cpu,
    /// The first GPU that the CUDA driver lists; its `CUDA_VISIBLE_DEVICES` chooses another.
    Cuda,
}

/// A name that is no device's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected cpu or cuda, found {found}")]
pub struct UnknownDevice {
    found: String,
}

impl fmt::Display for Compute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
        })
    }
}

impl FromStr for Compute {
    type Err = UnknownDevice;

    fn from_str(name: &str) -> Result<Self, UnknownDevice> {
        match name {
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda),
            found => Err(UnknownDevice { found: found.to_owned() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_read_as_it_is_written_and_no_other_word_is() {
        for compute in [Compute::Cpu, Compute::Cuda] {
            assert_eq!(compute.to_string().parse(), Ok(compute));
            assert_eq!(serde_json::to_string(&compute).unwrap(), format!("\"{compute}\""));
        }
        let error = "tpu".parse::<Compute>().unwrap_err();
        assert_eq!(error.to_string(), "expected cpu or cuda, found tpu");
    }
}
