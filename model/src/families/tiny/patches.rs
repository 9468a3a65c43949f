//! Cells of the semantic grid as the patches that the diffusion transformer denoises, and back.

use burn::tensor::Tensor;

use super::cells::{GRID_SIDE, MERGE};

/// Cells gathered into the patches the transformer denoises.
///
/// # Shapes
/// - cells: `[batch, 64, channels]`
/// - output: `[batch, 16, 4 * channels]`
pub(crate) fn to_patches(cells: Tensor<3>) -> Tensor<3> {
    let [batch, _, channels] = cells.dims();
    let side = GRID_SIDE / MERGE;
    cells.reshape([batch, side, MERGE, side, MERGE * channels]).permute([0, 1, 3, 2, 4]).reshape([
        batch,
        side * side,
        MERGE * MERGE * channels,
    ])
}

/// The inverse of [`to_patches`].
pub(crate) fn to_cells(patches: Tensor<3>) -> Tensor<3> {
    let [batch, _, patch] = patches.dims();
    let channels = patch / (MERGE * MERGE);
    let side = GRID_SIDE / MERGE;
    patches
        .reshape([batch, side, side, MERGE, MERGE * channels])
        .permute([0, 1, 3, 2, 4])
        .reshape([batch, GRID_SIDE * GRID_SIDE, channels])
}
