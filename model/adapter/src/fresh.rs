//! Freshly initialised tensors.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

use crate::tensors::HostTensor;

/// How a fresh tensor is sampled.
#[derive(Clone, Copy, Debug)]
pub enum Init {
    /// All zero.
    Zeros,
    /// All one.
    Ones,
    /// Normal with this standard deviation.
    Normal(f32),
    /// Uniform in ± this bound.
    Uniform(f32),
}

/// A fresh tensor.
pub fn sample(shape: &[usize], init: Init, rng: &mut ChaCha8Rng) -> HostTensor {
    let count = shape.iter().product();
    let values = match init {
        Init::Zeros => vec![0.0; count],
        Init::Ones => vec![1.0; count],
        Init::Normal(deviation) => {
            (0..count).map(|_| rng.sample::<f32, _>(StandardNormal) * deviation).collect()
        }
        Init::Uniform(bound) => {
            (0..count).map(|_| (rng.random::<f32>() * 2.0 - 1.0) * bound).collect()
        }
    };
    HostTensor { shape: shape.to_vec(), values }
}
