//! Sums of outer products: the gradients of weights and of attention.
//!
//! Tiles in registers, as in [`super::product`]; every element is summed in one order too.

use rayon::prelude::*;
use witan_adapter::vector::widest;

use super::parts::PARALLEL;
use super::product::{Rows, panels};

/// Adds leftᵀ · right to `out`: the sum over `depth` rows of the outer products.
///
/// # Shapes
/// - left: `[depth, rows]`, right: `[depth, columns]`
/// - out: `[rows, columns]`
pub(crate) fn add_outer(left: Rows, right: Rows, depth: usize, out: &mut [f32], columns: usize) {
    if depth * out.len() < PARALLEL || rayon::current_num_threads() == 1 {
        widest(Outer { left, right, depth, out, columns });
        return;
    }
    // A thread takes some rows of the result.
    out.par_chunks_mut(OUTER_ROWS * columns).enumerate().for_each(|(chunk, out)| {
        let left = left.columns_from(chunk * OUTER_ROWS);
        widest(Outer { left, right, depth, out, columns });
    });
}

struct Outer<'a> {
    left: Rows<'a>,
    right: Rows<'a>,
    depth: usize,
    out: &'a mut [f32],
    columns: usize,
}

impl pulp::WithSimd for Outer<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(mut self, simd: S) {
        for (start, width) in panels(self.columns, S::F32_LANES) {
            match (width > S::F32_LANES, S::REGISTER_COUNT > 16) {
                (true, true) => self.sweep::<S, 8, 2>(simd, start),
                (true, false) => self.sweep::<S, 4, 2>(simd, start),
                (false, _) => self.sweep::<S, 8, 1>(simd, start),
            }
        }
    }
}

impl Outer<'_> {
    #[inline(always)]
    fn sweep<S: pulp::Simd, const R: usize, const V: usize>(&mut self, simd: S, start: usize) {
        let rows = self.out.len() / self.columns;
        let whole = rows / R * R;
        for row in (0..whole).step_by(R) {
            self.tile::<S, R, V>(simd, row, start);
        }
        for row in whole..rows {
            self.tile::<S, 1, V>(simd, row, start);
        }
    }

    #[inline(always)]
    fn tile<S: pulp::Simd, const R: usize, const V: usize>(
        &mut self,
        simd: S,
        row: usize,
        start: usize,
    ) {
        let end = self.columns.min(start + V * S::F32_LANES);
        let is_whole = end == start + V * S::F32_LANES;
        let mut sums = [[simd.splat_f32s(0.0); V]; R];
        for index in 0..self.depth {
            let left = &self.left.row(index)[row..row + R];
            let right = &self.right.row(index)[start..end];
            let vectors: [S::f32s; V] = match is_whole {
                true => {
                    let (vectors, _) = S::as_simd_f32s(right);
                    std::array::from_fn(|v| vectors[v])
                }
                false => std::array::from_fn(|v| {
                    let from = right.len().min(v * S::F32_LANES);
                    let to = right.len().min(from + S::F32_LANES);
                    simd.partial_load_f32s(&right[from..to])
                }),
            };
            for r in 0..R {
                let factor = simd.splat_f32s(left[r]);
                for v in 0..V {
                    sums[r][v] = simd.mul_add_f32s(factor, vectors[v], sums[r][v]);
                }
            }
        }
        for (r, sums) in sums.iter().enumerate() {
            let out = &mut self.out[(row + r) * self.columns..][start..end];
            for (out, sum) in out.chunks_mut(S::F32_LANES).zip(sums) {
                let sum = simd.add_f32s(simd.partial_load_f32s(out), *sum);
                simd.partial_store_f32s(out, sum);
            }
        }
    }
}

/// Rows one thread takes at a time.
const OUTER_ROWS: usize = 8;
