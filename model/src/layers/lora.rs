//! Frozen layers with a low-rank update beside them: y = W x + (alpha / rank) B (A x).
//!
//! Follows LoRA (arXiv 2106.09685). B starts at zero, hence a fresh adapter changes nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use burn::module::{Module, Param};
use burn::tensor::module::embedding;
use burn::tensor::{Int, Tensor, TensorData};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::kernels::lora_linear;
use crate::layers::frozen::Frozen;
use crate::precision::computed;

/// A linear layer that may carry an adapter.
#[derive(Module, Debug)]
pub struct LoraLinear {
    /// The frozen map W and its bias.
    pub base: Frozen,
    /// The map A to `rank` values: `[inputs, rank]`.
    pub lora_a: Option<Param<Tensor<2>>>,
    /// The map B back: `[rank, outputs]`.
    pub lora_b: Option<Param<Tensor<2>>>,
    /// The factor alpha / rank.
    pub scale: f64,
    /// What of the adapter's input is dropped while it trains.
    #[module(skip)]
    pub(crate) drops: Option<Drops>,
}

/// What adapters drop of their inputs while they train; clones share the number that decides it.
#[derive(Clone, Debug, Default)]
pub struct Dropout(Arc<AtomicU64>);

/// One layer's part of a [`Dropout`].
#[derive(Clone, Debug)]
pub(crate) struct Drops {
    share: f64,
    dropout: Dropout,
    layer: u64,
}

impl Dropout {
    /// Decides anew what is dropped, until decided again: every step has a number of its own.
    pub fn decide(&self, number: u64) {
        self.0.store(number, Ordering::Relaxed);
    }

    /// For the layer of this number; none if nothing is dropped.
    pub(crate) fn of(&self, share: f64, layer: u64) -> Option<Drops> {
        (share > 0.0).then(|| Drops { share, dropout: self.clone(), layer })
    }
}

impl Drops {
    /// The input with a share of its values zero, and the others larger by as much.
    fn thinned<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.dropout.0.load(Ordering::Relaxed));
        rng.set_stream(self.layer);
        let kept = (1.0 / (1.0 - self.share)) as f32;
        let shape = input.dims();
        let count = shape.iter().product();
        let mut value = || if rng.random::<f32>() < self.share as f32 { 0.0 } else { kept };
        let mask: Vec<f32> = (0..count).map(|_| value()).collect();
        let mask = Tensor::from_data(TensorData::new(mask, shape), &input.device());
        input.mul(mask)
    }
}

impl LoraLinear {
    /// Applies the layer.
    ///
    /// # Shapes
    /// - input: `[..., inputs]`
    /// - output: `[..., outputs]`
    pub fn forward<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        let (Some(a), Some(b)) = (&self.lora_a, &self.lora_b) else {
            return self.base.forward(input);
        };
        let (weight, precision) = (self.base.weight.val(), self.base.precision);
        let (a, b) = (a.val(), b.val());
        let output = match &self.drops {
            Some(drops) if a.is_tracked() => {
                let low = precision.trained(drops.thinned(input.clone()), a);
                let low = precision.trained(low.mul_scalar(self.scale), b);
                precision.frozen(input, weight).add(low)
            }
            _ => lora_linear(input, weight, [a, b], self.scale, precision),
        };
        self.base.with_bias(output)
    }
}

/// A table of token embeddings that may carry an adapter.
///
/// As in PEFT, A holds `rank` numbers a token and starts at zero, and the update changes what a
/// token is read as, not the tied output head.
#[derive(Module, Debug)]
pub struct LoraEmbedding {
    /// The frozen rows: `[tokens, width]`.
    pub base: Param<Tensor<2>>,
    /// What a strategy added to the rows as they are read: `[tokens, width]`.
    pub shift: Option<Param<Tensor<2>>>,
    /// The map A: `[rank, tokens]`.
    pub lora_a: Option<Param<Tensor<2>>>,
    /// The map B: `[width, rank]`.
    pub lora_b: Option<Param<Tensor<2>>>,
    /// The factor alpha / rank.
    pub scale: f64,
}

impl LoraEmbedding {
    /// What slots are read as: tokens as their rows, and slots above them as the rows of `extra`.
    ///
    /// # Shapes
    /// - extra: `[slots above the tokens, width]`
    /// - output: `[slots, width]`
    pub fn look_up(&self, slots: &[i32], extra: Option<Tensor<2>>) -> Tensor<2> {
        let device = self.base.val().device();
        let tokens = self.base.dims()[0] as i32;
        let rows = |table: Tensor<2>, slots: Vec<i32>| {
            let count = slots.len();
            let slots = Tensor::<2, Int>::from_data(TensorData::new(slots, [1, count]), &device);
            embedding(table, slots).squeeze_dim::<2>(0)
        };
        if self.shift.is_some() || self.lora_a.is_some() {
            let table = match extra {
                None => self.table(),
                Some(extra) => Tensor::cat(vec![self.table(), extra], 0),
            };
            return rows(table, slots.to_vec());
        }
        // Only rows that are read are copied: the table of a large model is gigabytes.
        let said: Vec<i32> = slots.iter().filter(|slot| **slot < tokens).copied().collect();
        let mut first = 0..;
        let beyond = said.len() as i32 - tokens;
        let place = |slot: &i32| match *slot < tokens {
            true => first.next().expect("there is a row for every token"),
            false => slot + beyond,
        };
        let places: Vec<i32> = slots.iter().map(place).collect();
        let said = computed(rows(self.base.val(), said));
        match extra {
            None => said,
            Some(extra) => rows(Tensor::cat(vec![said, extra], 0), places),
        }
    }

    /// The rows that tokens are read as: `[tokens, width]`.
    pub fn table(&self) -> Tensor<2> {
        let rows = match &self.shift {
            None => computed(self.base.val()),
            Some(shift) => computed(self.base.val()).add(shift.val()),
        };
        let (Some(a), Some(b)) = (&self.lora_a, &self.lora_b) else {
            return rows;
        };
        let update = a.val().transpose().matmul(b.val().transpose()).mul_scalar(self.scale);
        rows.add(update)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::floats;
    use burn::tensor::Device;

    #[test]
    fn a_share_of_the_inputs_is_dropped_the_same_until_decided_anew() {
        let dropout = Dropout::default();
        let [first, second] = [0, 1].map(|layer| dropout.of(0.25, layer).unwrap());
        let ones = || Tensor::<2>::ones([40, 100], &Device::flex());
        let thinned = |drops: &Drops| floats(drops.thinned(ones()));
        dropout.decide(7);
        let before = thinned(&first);
        let dropped = before.iter().filter(|value| **value == 0.0).count();
        assert!((900..1100).contains(&dropped), "{dropped} of 4000");
        let kept = before.iter().filter(|value| **value != 0.0);
        assert!(kept.clone().all(|value| (value - 4.0 / 3.0).abs() < 1e-6));
        assert_eq!(thinned(&first), before);
        assert_ne!(thinned(&second), before);
        dropout.decide(8);
        assert_ne!(thinned(&first), before);
        assert!(dropout.of(0.0, 0).is_none());
    }

    #[test]
    fn an_embedding_is_its_row_its_shift_and_the_scaled_product_of_its_factors() {
        let parameter = |values: [[f32; 2]; 2]| {
            Param::from_tensor(Tensor::from_floats(values, &Device::flex()))
        };
        let table = LoraEmbedding {
            base: parameter([[1.0, 2.0], [3.0, 4.0]]),
            shift: Some(parameter([[0.0, 0.0], [0.5, 0.0]])),
            lora_a: Some(parameter([[0.0, 1.0], [0.0, 2.0]])),
            lora_b: Some(parameter([[1.0, 0.0], [5.0, 10.0]])),
            scale: 2.0,
        };
        // Token 0 has zero numbers in A; token 1 has (1, 2), which B makes (1, 25).
        assert_eq!(floats(table.table()), [1.0, 2.0, 5.5, 54.0]);
    }
}
