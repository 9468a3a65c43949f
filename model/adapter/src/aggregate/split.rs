//! A mean of products, split into factors of the federation's rank by a singular value
//! decomposition.
//!
//! The mean is never formed: with the members' factors stacked, Σ share·BA = L·R, bases of the two
//! spaces (QR of the tall factors) leave a core no larger than members × rank, and only that is
//! decomposed. B = UΣ and A = Vᵀ: rows of length one are near what a fresh A has, and leave no row
//! that cannot learn; the paper does not say how it splits.

use super::Matrix;
use super::products::Changes;
use crate::adapter::Adapter;
use crate::committed::Committed;
use crate::strategy::layers;
use crate::tensors::Weights;

/// B₀A₀ + Σ share·(BA − B₀A₀), split again. Shares need not sum to one.
pub(super) fn split_again(
    start: &Adapter,
    inputs: &[(u64, &Adapter)],
    shares: &[f64],
) -> Committed {
    let kept = 1.0 - shares.iter().sum::<f64>();
    let mut tensors = Weights::new();
    for layer in layers(start) {
        let changes = Changes::of(start, inputs, &layer);
        let (mut left, mut right) = changes.factors(shares);
        if kept.abs() > NOTHING {
            let nothing = Matrix::zeros(changes.start_b.rows, changes.start_b.columns);
            left = Matrix::beside(&[left, nothing.plus(kept, &changes.start_b)]);
            right = Matrix::stacked(&[right, changes.start_a.clone()]);
        }
        // [outputs, n]·[n, inputs] = (columns of left)·core·(rows of right).
        let (rows, columns) = (span(left.transposed()), span(right.clone()));
        let core = rows.times(&left).times(&right.times(&columns.transposed()));
        let (a, b) = split(&core, [&rows, &columns], &changes.start_a);
        tensors.insert(layer.a, a.to_tensor());
        tensors.insert(layer.b, b.to_tensor());
    }
    Committed::plain(Adapter::from_tensors(tensors))
}

/// A basis of the rows of a stack; the whole space, if the stack is as high as that is wide.
pub(super) fn span(stack: Matrix) -> Matrix {
    if stack.rows < stack.columns {
        return stack.row_basis();
    }
    let size = stack.columns;
    let mut identity = Matrix::zeros(size, size);
    (0..size).for_each(|at| identity.row_mut(at)[at] = 1.0);
    identity
}

/// Factors (A, B) of the start's rank whose product is the best approximation of
/// rowsᵀ·core·columns.
///
/// Where the core has a lower rank, A keeps the start's rows and B has zeros: nothing changes, and
/// the row can learn.
pub(super) fn split(
    core: &Matrix,
    [rows, columns]: [&Matrix; 2],
    start_a: &Matrix,
) -> (Matrix, Matrix) {
    let rank = start_a.rows;
    let svd = core.svd(rank);
    let (left, right) = (svd.left.times(rows), svd.right.times(columns));
    let (mut a, mut b) = (start_a.clone(), Matrix::zeros(rows.columns, rank));
    for (at, value) in svd.values.iter().enumerate() {
        a.row_mut(at).copy_from_slice(right.row(at));
        for (output, part) in left.row(at).iter().enumerate() {
            b.row_mut(output)[at] = value * part;
        }
    }
    (a, b)
}

/// Shares that sum to one, but for rounding.
const NOTHING: f64 = 1e-9;
