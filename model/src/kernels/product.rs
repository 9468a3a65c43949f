//! Products of small matrices, in safe code that the compiler turns into vector instructions.
//!
//! A tile of the result stays in registers while its sum runs; every element is summed in one order
//! whatever the processor and the number of threads, so that results repeat bit for bit. Measured
//! against the `gemm` crate: 0.9 of its speed on the shapes of the embedded model, and it needs no
//! second pass to add an adapter's share.

use rayon::prelude::*;
use witan_adapter::vector::widest;

use super::parts::{PARALLEL, assembled};
use super::scratch::Scratch;

/// A row-major matrix, or some columns of one.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    values: &'a [f32],
    stride: usize,
}

impl<'a> Rows<'a> {
    /// Rows that begin `stride` values apart, the first at the start of `values`.
    pub(crate) fn new(values: &'a [f32], stride: usize) -> Rows<'a> {
        Rows { values, stride }
    }

    /// The rows from `start` on.
    #[inline(always)]
    pub(crate) fn from(self, start: usize) -> Rows<'a> {
        Rows { values: &self.values[start * self.stride..], ..self }
    }

    /// The columns from `start` on.
    pub(crate) fn columns_from(self, start: usize) -> Rows<'a> {
        Rows { values: &self.values[start..], ..self }
    }

    /// The row at `index`, and what follows it.
    #[inline(always)]
    pub(crate) fn row(self, index: usize) -> &'a [f32] {
        &self.values[index * self.stride..]
    }
}

/// The right-hand matrix of a product, cut into panels of columns that are read in order.
pub(crate) struct Panels {
    depth: usize,
    columns: usize,
    values: Scratch,
}

impl Panels {
    /// Packs `[depth, columns]`, given row by row.
    pub(crate) fn of(matrix: Rows, [depth, columns]: [usize; 2]) -> Panels {
        Panels::packed([depth, columns], |panel, [start, end], width| {
            for (index, place) in panel.chunks_exact_mut(width).enumerate() {
                place[..end - start].copy_from_slice(&matrix.row(index)[start..end]);
            }
        })
    }

    /// Packs the transpose of `[columns, depth]`, given row by row.
    pub(crate) fn of_transposed(matrix: Rows, [columns, depth]: [usize; 2]) -> Panels {
        Panels::packed([depth, columns], |panel, [start, end], width| {
            // Few places at a time, so that all columns find them in the nearest cache.
            for (block, panel) in panel.chunks_mut(PACKED_DEPTH * width).enumerate() {
                for column in start..end {
                    let row = &matrix.row(column)[block * PACKED_DEPTH..depth];
                    let places = panel[column - start..].iter_mut().step_by(width);
                    places.zip(row).for_each(|(place, value)| *place = *value);
                }
            }
        })
    }

    /// `pack` fills a panel of some width with a range of columns; the rest of it is zero.
    fn packed(
        [depth, columns]: [usize; 2],
        pack: impl Fn(&mut [f32], [usize; 2], usize) + Sync,
    ) -> Panels {
        let lanes = widest(Lanes);
        let wide = 2 * lanes;
        let length = panels(columns, lanes).map(|(_, width)| width * depth).sum();
        let mut values = Scratch::of_any(length);
        let fill = |(index, panel): (usize, &mut [f32])| {
            let start = index * wide;
            let (end, width) = (columns.min(start + wide), panel.len() / depth);
            if end - start < width {
                panel.fill(0.0);
            }
            pack(panel, [start, end], width);
        };
        match length >= PARALLEL && rayon::current_num_threads() > 1 {
            true => values.par_chunks_mut(wide * depth).enumerate().for_each(fill),
            false => values.chunks_mut(wide * depth).enumerate().for_each(fill),
        }
        Panels { depth, columns, values }
    }
}

/// How many values one vector of this processor holds.
struct Lanes;

impl pulp::WithSimd for Lanes {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) -> usize {
        S::F32_LANES
    }
}

/// Where a panel of columns begins and its width: two vectors, or one for what is left at the end.
pub(super) fn panels(columns: usize, lanes: usize) -> impl Iterator<Item = (usize, usize)> {
    let wide = 2 * lanes;
    (0..columns).step_by(wide).map(move |start| match columns - start <= lanes {
        true => (start, lanes),
        false => (start, wide),
    })
}

/// left · right; a second pair's product is added to the first's.
///
/// # Shapes
/// - left: `[rows, depth]` each, right: `[depth, columns]` each, with equal columns
/// - output: `[rows, columns]`
pub(crate) fn product(
    first: (Rows, &Panels),
    second: Option<(Rows, &Panels)>,
    rows: usize,
) -> Vec<f32> {
    let columns = first.1.columns;
    assembled(rows * columns, PART_ROWS * columns, |part, out| {
        let start = part * PART_ROWS;
        let first = (first.0.from(start), first.1);
        let second = second.map(|(left, right)| (left.from(start), right));
        let (limits, rows) = ([first.1.depth, columns], out.len() / columns);
        widest(Product { first, second, limits, rows, out, stride: columns });
    })
}

/// Writes left · right into `out`, whose rows begin `stride` values apart, on this thread.
///
/// # Shapes
/// - left: `[rows, depth]`, right: `[depth, columns]`
/// - out: `[rows, columns]`
pub(crate) fn product_into(pair: (Rows, &Panels), rows: usize, out: &mut [f32], stride: usize) {
    let (depth, columns) = (pair.1.depth, pair.1.columns);
    product_within(pair, [rows, depth, columns], out, stride);
}

/// The same of the right-hand matrix's first `depth` and `columns`, to the end of the last panel.
pub(crate) fn product_within(
    pair: (Rows, &Panels),
    [rows, depth, columns]: [usize; 3],
    out: &mut [f32],
    stride: usize,
) {
    widest(Product { first: pair, second: None, limits: [depth, columns], rows, out, stride });
}

struct Product<'a> {
    first: (Rows<'a>, &'a Panels),
    second: Option<(Rows<'a>, &'a Panels)>,
    /// How much of the first pair's depth and columns counts.
    limits: [usize; 2],
    rows: usize,
    out: &'a mut [f32],
    stride: usize,
}

impl pulp::WithSimd for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(mut self, simd: S) {
        let [_, columns] = self.limits;
        let wanted = panels(self.first.1.columns, S::F32_LANES);
        for (start, width) in wanted.take_while(|(start, _)| *start < columns) {
            // A wide tile fills half the registers, whose number tells how many rows it has.
            match (width > S::F32_LANES, S::REGISTER_COUNT > 16) {
                (true, true) => self.sweep::<S, 8, 2>(simd, start),
                (true, false) => self.sweep::<S, 4, 2>(simd, start),
                (false, _) => self.sweep::<S, 8, 1>(simd, start),
            }
        }
    }
}

impl Product<'_> {
    /// Computes the columns of one panel of `V` vectors.
    #[inline(always)]
    fn sweep<S: pulp::Simd, const R: usize, const V: usize>(&mut self, simd: S, start: usize) {
        let whole = self.rows / R * R;
        for row in (0..whole).step_by(R) {
            self.tile::<S, R, V>(simd, row, start);
        }
        for row in whole..self.rows {
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
        let mut sums = [[simd.splat_f32s(0.0); V]; R];
        let (left, right) = self.first;
        add_tile(simd, (left.from(row), right), self.limits[0], start, &mut sums);
        if let Some((left, right)) = self.second {
            add_tile(simd, (left.from(row), right), right.depth, start, &mut sums);
        }
        let end = start + V * S::F32_LANES;
        let is_whole = end <= self.first.1.columns;
        let end = end.min(self.first.1.columns);
        for (r, sums) in sums.iter().enumerate() {
            let out = &mut self.out[(row + r) * self.stride..][start..end];
            if is_whole {
                S::as_mut_simd_f32s(out).0.copy_from_slice(sums);
                continue;
            }
            for (out, sum) in out.chunks_mut(S::F32_LANES).zip(sums) {
                simd.partial_store_f32s(out, *sum);
            }
        }
    }
}

/// Adds one pair's product to a tile of sums.
#[inline(always)]
fn add_tile<S: pulp::Simd, const R: usize, const V: usize>(
    simd: S,
    (left, right): (Rows, &Panels),
    depth: usize,
    start: usize,
    sums: &mut [[S::f32s; V]; R],
) {
    let panel = &right.values[start * right.depth..][..V * S::F32_LANES * depth];
    let (vectors, _) = S::as_simd_f32s(panel);
    let left: [&[f32]; R] = std::array::from_fn(|r| &left.row(r)[..depth]);
    // Four steps at a time: the compiler checks an index once for all four.
    let fours = left.map(|row| row.as_chunks::<4>().0);
    let mut held = *sums;
    let mut steps = vectors.chunks_exact(4 * V);
    for (index, vectors) in steps.by_ref().enumerate() {
        let factors: [&[f32; 4]; R] = std::array::from_fn(|r| &fours[r][index]);
        for step in 0..4 {
            for r in 0..R {
                let factor = simd.splat_f32s(factors[r][step]);
                for v in 0..V {
                    held[r][v] = simd.mul_add_f32s(factor, vectors[step * V + v], held[r][v]);
                }
            }
        }
    }
    for (index, vectors) in (depth / 4 * 4..depth).zip(steps.remainder().chunks_exact(V)) {
        for r in 0..R {
            let factor = simd.splat_f32s(left[r][index]);
            for v in 0..V {
                held[r][v] = simd.mul_add_f32s(factor, vectors[v], held[r][v]);
            }
        }
    }
    *sums = held;
}

/// Places of a panel filled together from all its columns.
const PACKED_DEPTH: usize = 64;
/// Rows of a product that are computed together: few enough that they stay in the nearest cache.
const PART_ROWS: usize = 32;

#[cfg(test)]
mod tests {
    use witan_adapter::tensors::transpose;

    use super::*;
    use crate::kernels::outer::add_outer;

    fn numbers(count: usize, seed: usize) -> Vec<f32> {
        (0..count).map(|index| ((index * 37 + seed * 11) % 23) as f32 / 8.0 - 1.25).collect()
    }

    fn plain(left: &[f32], right: &[f32], [rows, depth, columns]: [usize; 3]) -> Vec<f32> {
        let mut out = vec![0.0; rows * columns];
        for (at, out) in out.iter_mut().enumerate() {
            let (row, column) = (at / columns, at % columns);
            *out = (0..depth).map(|d| left[row * depth + d] * right[d * columns + column]).sum();
        }
        out
    }

    fn assert_close(found: &[f32], expected: &[f32]) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!(
                (found - expected).abs() <= 1e-5 * expected.abs().max(1.0),
                "{found} {expected}"
            );
        }
    }

    #[test]
    fn products_of_any_shape_are_the_plain_sums() {
        for shape in
            [[1, 1, 1], [9, 5, 7], [8, 16, 32], [13, 40, 72], [70, 128, 88], [300, 64, 128]]
        {
            let [rows, depth, columns] = shape;
            let (left, right) = (numbers(rows * depth, 1), numbers(depth * columns, 2));
            let expected = plain(&left, &right, shape);
            let turned = transpose(&right, depth, columns);
            let packed = [
                Panels::of(Rows::new(&right, columns), [depth, columns]),
                Panels::of_transposed(Rows::new(&turned, depth), [columns, depth]),
            ];
            for panels in packed {
                let left = (Rows::new(&left, depth), &panels);
                assert_close(&product(left, None, rows), &expected);
                let mut out = vec![9.0; rows * columns];
                product_into(left, rows, &mut out, columns);
                assert_close(&out, &expected);
            }
            let mut out = vec![0.0; rows * columns];
            let turned = transpose(&left, rows, depth);
            add_outer(
                Rows::new(&turned, rows),
                Rows::new(&right, columns),
                depth,
                &mut out,
                columns,
            );
            assert_close(&out, &expected);
        }
    }

    #[test]
    fn threads_change_no_bit() {
        let shape = [1000, 96, 160];
        let [rows, depth, columns] = shape;
        let (left, right) = (numbers(rows * depth, 3), numbers(depth * columns, 4));
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let panels = Panels::of(Rows::new(&right, columns), [depth, columns]);
                let left = Rows::new(&left, depth);
                let out = product((left, &panels), Some((left, &panels)), rows);
                let mut outer = vec![0.0; depth * columns];
                add_outer(left, Rows::new(&out, columns), rows, &mut outer, columns);
                (out, outer)
            })
        };
        assert_eq!(run(1), run(3));
    }
}
