//! 2-D rotary positions as Lumina-Next has them: neighbouring channels are rotated, by a place's
//! row and its column in turn.

use burn::tensor::{Device, Tensor, TensorData};

/// The rotation of each pair of channels of each place of a grid: `[1, places, 1, head width /
/// 2]`.
pub(super) struct Rotary2d {
    cosine: Tensor<4>,
    sine: Tensor<4>,
}

impl Rotary2d {
    /// Pairs of channels alternate between rotation by a place's row and by its column.
    pub(super) fn new(side: usize, width: usize, device: &Device) -> Rotary2d {
        let pairs = width / 2;
        let angle = |index: usize| {
            let (place, pair) = (index / pairs, index % pairs);
            let position = if pair.is_multiple_of(2) { place / side } else { place % side };
            position as f64 * THETA.powf(-((pair / 2 * 2) as f64) / pairs as f64)
        };
        let table = |of: fn(f64) -> f64| {
            let values: Vec<f32> =
                (0..side * side * pairs).map(|index| of(angle(index)) as f32).collect();
            Tensor::from_data(TensorData::new(values, [1, side * side, 1, pairs]), device)
        };
        Rotary2d { cosine: table(f64::cos), sine: table(f64::sin) }
    }

    /// Rotates neighbouring channels of each head of `width`.
    ///
    /// # Shapes
    /// - vectors and output: `[batch, places, heads * width]`
    pub(super) fn rotate(&self, vectors: Tensor<3>, width: usize) -> Tensor<3> {
        let [batch, places, all] = vectors.dims();
        let heads = all / width;
        let pairs = vectors.reshape([batch, places, heads, width / 2, 2]);
        let half = |index: usize| {
            pairs.clone().narrow(4, index, 1).reshape([batch, places, heads, width / 2])
        };
        let (first, second) = (half(0), half(1));
        let [cosine, sine] = [&self.cosine, &self.sine].map(Tensor::clone);
        let rotated = [
            first.clone().mul(cosine.clone()).sub(second.clone().mul(sine.clone())),
            second.mul(cosine).add(first.mul(sine)),
        ];
        Tensor::stack::<5>(rotated.to_vec(), 4).reshape([batch, places, all])
    }
}

/// Base of the angles.
const THETA: f64 = 10_000.0;
