//! 2-D rotary positions as Lumina-Next has them: neighbouring channels rotate by row or column.

use burn::tensor::{Device, Tensor};

use crate::kernels::{angle_tables, rotate_pairs};

/// The angles of a square grid's places, whose pairs of channels are rotated by row and by column
/// in turn: cosines and sines, `[1, places, 1, head width / 2]` each.
pub(super) fn grid_angles(side: usize, width: usize, device: &Device) -> [Tensor<4>; 2] {
    let pairs = width / 2;
    let angle = |index: usize| {
        let (place, pair) = (index / pairs, index % pairs);
        let position = if pair.is_multiple_of(2) { place / side } else { place % side };
        position as f64 * THETA.powf(-((pair / 2 * 2) as f64) / pairs as f64)
    };
    let angles: Vec<f64> = (0..side * side * pairs).map(angle).collect();
    angle_tables(&angles, pairs, device)
}

/// Rotates neighbouring channels of each head of `width`.
///
/// # Shapes
/// - vectors and output: `[batch, places, heads * width]`
pub(super) fn rotate(vectors: Tensor<3>, angles: &[Tensor<4>; 2], width: usize) -> Tensor<3> {
    let [batch, places, all] = vectors.dims();
    let heads = all / width;
    let pairs = vectors.reshape([batch, places, heads, width / 2, 2]);
    let half =
        |index: usize| pairs.clone().narrow(4, index, 1).reshape([batch, places, heads, width / 2]);
    let rotated = rotate_pairs([half(0), half(1)], angles.clone());
    Tensor::stack::<5>(rotated.to_vec(), 4).reshape([batch, places, all])
}

/// Base of the angles.
const THETA: f64 = 10_000.0;
