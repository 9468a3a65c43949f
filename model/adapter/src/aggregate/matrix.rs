//! Small dense matrices in f64, with the few operations aggregation needs, in a fixed order.
//!
//! Plain loops: only + − × ÷ and √, which IEEE 754 rounds alike everywhere; no fused operations, no
//! threads. Sums run in blocks of [`LANES`], so that one order serves every width of register.

use crate::tensors::HostTensor;
use crate::vector::vectorised;

/// A matrix, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub columns: usize,
    /// The values, row after row.
    pub values: Vec<f64>,
}

/// The leading part of a singular value decomposition: M ≈ U diag(σ) Vᵀ.
#[derive(Clone, Debug)]
pub struct Svd {
    /// Left vectors, one a row: `[rank, rows of M]`.
    pub left: Matrix,
    /// Singular values, largest first.
    pub values: Vec<f64>,
    /// Right vectors, one a row: `[rank, columns of M]`.
    pub right: Matrix,
}

impl Matrix {
    /// All zero.
    pub fn zeros(rows: usize, columns: usize) -> Matrix {
        Matrix { rows, columns, values: vec![0.0; rows * columns] }
    }

    /// A tensor of two axes.
    pub fn of(tensor: &HostTensor) -> Matrix {
        let values = tensor.values.iter().map(|value| f64::from(*value)).collect();
        Matrix { rows: tensor.shape[0], columns: tensor.shape[1], values }
    }

    /// The tensor, each value rounded once.
    pub fn to_tensor(&self) -> HostTensor {
        let values = self.values.iter().map(|value| *value as f32).collect();
        HostTensor { shape: vec![self.rows, self.columns], values }
    }

    /// One row.
    pub fn row(&self, row: usize) -> &[f64] {
        &self.values[row * self.columns..][..self.columns]
    }

    /// One row, to be changed.
    pub fn row_mut(&mut self, row: usize) -> &mut [f64] {
        &mut self.values[row * self.columns..][..self.columns]
    }

    /// Rows become columns.
    pub fn transposed(&self) -> Matrix {
        let mut out = Matrix::zeros(self.columns, self.rows);
        for row in 0..self.rows {
            for (column, value) in self.row(row).iter().enumerate() {
                out.values[column * self.rows + row] = *value;
            }
        }
        out
    }

    /// self · right.
    pub fn times(&self, right: &Matrix) -> Matrix {
        let mut out = Matrix::zeros(self.rows, right.columns);
        for row in 0..self.rows {
            self.add_row_times(row, right, out.row_mut(row));
        }
        out
    }

    /// self + factor · other.
    pub fn plus(mut self, factor: f64, other: &Matrix) -> Matrix {
        add(&mut self.values, factor, &other.values);
        self
    }

    /// These matrices of as many rows, side by side.
    pub fn beside(parts: &[Matrix]) -> Matrix {
        let rows = parts[0].rows;
        let columns = parts.iter().map(|part| part.columns).sum();
        let values = (0..rows).flat_map(|row| parts.iter().flat_map(move |part| part.row(row)));
        Matrix { rows, columns, values: values.copied().collect() }
    }

    /// These matrices of as many columns, on top of each other.
    pub fn stacked(parts: &[Matrix]) -> Matrix {
        let rows = parts.iter().map(|part| part.rows).sum();
        let values = parts.iter().flat_map(|part| &part.values).copied().collect();
        Matrix { rows, columns: parts[0].columns, values }
    }

    /// out += row · right.
    pub fn add_row_times(&self, row: usize, right: &Matrix, out: &mut [f64]) {
        add_row_times(self.row(row), right, out);
    }

    /// An orthonormal basis of the row space, one vector a row: Gram-Schmidt, each row twice
    /// (Giraud et al. 2005: twice is enough). Rows that add nothing are left out.
    pub fn row_basis(&self) -> Matrix {
        let mut basis = Matrix::zeros(0, self.columns);
        for row in 0..self.rows {
            let mut vector = self.row(row).to_vec();
            let before = dot(&vector, &vector).sqrt();
            for _ in 0..2 {
                for known in 0..basis.rows {
                    let known = basis.row(known);
                    let part = dot(&vector, known);
                    add(&mut vector, -part, known);
                }
            }
            let after = dot(&vector, &vector).sqrt();
            if after > before * NOTHING {
                basis.values.extend(vector.iter().map(|value| value / after));
                basis.rows += 1;
            }
        }
        basis
    }

    /// The `rank` largest singular values and their vectors, by one-sided Jacobi rotations
    /// (Hestenes 1958). Fewer if the rest is nothing beside the largest.
    pub fn svd(&self, rank: usize) -> Svd {
        if self.rows > self.columns {
            let Svd { left, values, right } = self.transposed().svd(rank);
            return Svd { left: right, values, right: left };
        }
        // Rotated until orthogonal, the rows are σ·v.
        let mut rotated = self.clone();
        for _ in 0..SWEEPS_MAX {
            if !rotated.sweep() {
                break;
            }
        }
        let norm = |row: usize| dot(rotated.row(row), rotated.row(row)).sqrt();
        let mut order: Vec<(f64, usize)> = (0..self.rows).map(|row| (norm(row), row)).collect();
        order.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let largest = order.first().map_or(0.0, |(norm, _)| *norm);
        order.truncate(rank);
        order.retain(|(norm, _)| *norm > largest * NOTHING);
        let mut right = Matrix::zeros(order.len(), self.columns);
        let mut left = Matrix::zeros(order.len(), self.rows);
        for (at, (norm, row)) in order.iter().enumerate() {
            add(right.row_mut(at), 1.0 / norm, rotated.row(*row));
            for inner in 0..self.rows {
                left.row_mut(at)[inner] = dot(self.row(inner), right.row(at)) / norm;
            }
        }
        Svd { left, values: order.into_iter().map(|(norm, _)| norm).collect(), right }
    }

    /// Makes every pair of rows orthogonal once; false if all were.
    fn sweep(&mut self) -> bool {
        let mut squares: Vec<f64> =
            (0..self.rows).map(|row| dot(self.row(row), self.row(row))).collect();
        let mut rotated = false;
        for low in 0..self.rows {
            for high in low + 1..self.rows {
                let (a, b) = (squares[low], squares[high]);
                let mixed = dot(self.row(low), self.row(high));
                if mixed.abs() <= ORTHOGONAL * (a * b).sqrt() || mixed == 0.0 {
                    continue;
                }
                rotated = true;
                let zeta = (b - a) / (2.0 * mixed);
                let tangent = zeta.signum() / (zeta.abs() + (1.0 + zeta * zeta).sqrt());
                let cosine = 1.0 / (1.0 + tangent * tangent).sqrt();
                self.rotate(low, high, cosine, cosine * tangent);
                squares[low] = (a - tangent * mixed).max(0.0);
                squares[high] = b + tangent * mixed;
            }
        }
        rotated
    }

    fn rotate(&mut self, low: usize, high: usize, cosine: f64, sine: f64) {
        let (head, tail) = self.values.split_at_mut(high * self.columns);
        let first = &mut head[low * self.columns..][..self.columns];
        for (a, b) in first.iter_mut().zip(&mut tail[..self.columns]) {
            (*a, *b) = (cosine * *a - sine * *b, sine * *a + cosine * *b);
        }
    }
}

/// Σ a·b, in [`LANES`] sums that are added in order at the end.
pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; LANES];
    let (blocks, others) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let (tail, other) = (blocks.remainder(), others.remainder());
    for (block, other) in blocks.zip(others) {
        for lane in 0..LANES {
            sums[lane] += block[lane] * other[lane];
        }
    }
    let rest = tail.iter().zip(other).fold(0.0, |sum, (a, b)| sum + a * b);
    sums.iter().fold(0.0, |sum, lane| sum + lane) + rest
}

vectorised! {
    /// out += factors · right, four rows of `right` at a time: three times as fast as one.
    fn add_row_times(factors: &[f64], right: &Matrix, out: &mut [f64]) {
        let factors = factors.chunks_exact(4);
        let rest = factors.remainder();
        let mut rows = right.values.chunks_exact(right.columns.max(1));
        for factor in factors {
            let [Some(a), Some(b), Some(c), Some(d)] = std::array::from_fn(|_| rows.next()) else {
                break;
            };
            for ((((out, a), b), c), d) in out.iter_mut().zip(a).zip(b).zip(c).zip(d) {
                *out += (factor[0] * a + factor[1] * b) + (factor[2] * c + factor[3] * d);
            }
        }
        for (factor, row) in rest.iter().zip(rows) {
            add(out, *factor, row);
        }
    }
}

/// out += factor · values.
#[inline(always)]
fn add(out: &mut [f64], factor: f64, values: &[f64]) {
    for (out, value) in out.iter_mut().zip(values) {
        *out += factor * value;
    }
}

/// Sums that run side by side.
const LANES: usize = 8;
/// What is this much smaller than the largest is rounding.
const NOTHING: f64 = 1e-12;
/// Cosine of the angle at which two rows count as orthogonal.
const ORTHOGONAL: f64 = 1e-14;
/// Ten or so are needed; the bound is for numbers nobody foresaw.
const SWEEPS_MAX: usize = 40;

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn random(rows: usize, columns: usize, seed: u64) -> Matrix {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let values = (0..rows * columns).map(|_| rng.random::<f64>() * 2.0 - 1.0).collect();
        Matrix { rows, columns, values }
    }

    fn distance(a: &Matrix, b: &Matrix) -> f64 {
        let difference = a.clone().plus(-1.0, b);
        dot(&difference.values, &difference.values).sqrt()
    }

    fn identity(size: usize) -> Matrix {
        let mut out = Matrix::zeros(size, size);
        (0..size).for_each(|at| out.values[at * size + at] = 1.0);
        out
    }

    fn product(svd: &Svd) -> Matrix {
        let mut left = svd.left.transposed();
        for row in 0..left.rows {
            left.row_mut(row).iter_mut().zip(&svd.values).for_each(|(value, s)| *value *= s);
        }
        left.times(&svd.right)
    }

    #[test]
    fn a_whole_svd_multiplies_back_to_the_matrix_and_its_vectors_are_orthonormal() {
        for (rows, columns, seed) in [(5, 5, 1), (3, 9, 2), (40, 17, 3), (1, 4, 4)] {
            let matrix = random(rows, columns, seed);
            let svd = matrix.svd(rows.min(columns));
            assert!(distance(&product(&svd), &matrix) < 1e-12, "{rows} x {columns}");
            for vectors in [&svd.left, &svd.right] {
                let gram = vectors.times(&vectors.transposed());
                assert!(distance(&gram, &identity(gram.rows)) < 1e-11, "{rows} x {columns}");
            }
            assert!(svd.values.is_sorted_by(|a, b| a >= b), "{:?}", svd.values);
        }
    }

    #[test]
    fn a_cut_svd_misses_exactly_the_singular_values_left_out() {
        let matrix = random(12, 30, 5);
        let all = matrix.svd(12).values;
        let missed = distance(&product(&matrix.svd(4)), &matrix);
        let expected = dot(&all[4..], &all[4..]).sqrt();
        assert!((missed - expected).abs() < 1e-10, "{missed} is not {expected}");
    }

    #[test]
    fn a_product_of_thin_factors_has_no_more_singular_values_than_they_have_columns() {
        let product = random(20, 3, 6).times(&random(3, 15, 7));
        assert_eq!(product.svd(8).values.len(), 3);
        assert_eq!(Matrix::zeros(4, 4).svd(2).values.len(), 0);
        assert_eq!(product.row_basis().rows, 3);
    }

    #[test]
    fn a_row_basis_is_orthonormal_and_holds_every_row() {
        let matrix = random(10, 25, 8);
        let basis = matrix.row_basis();
        let gram = basis.times(&basis.transposed());
        assert!(distance(&gram, &identity(10)) < 1e-13);
        let back = matrix.times(&basis.transposed()).times(&basis);
        assert!(distance(&back, &matrix) < 1e-13);
    }

    #[test]
    fn golden_bits_of_a_decomposition() {
        let svd = random(6, 9, 11).svd(2);
        let bits: Vec<u64> = svd.values.iter().map(|value| value.to_bits()).collect();
        assert_eq!(bits, [4_613_127_363_646_902_313, 4_611_870_003_653_123_104]);
    }
}
