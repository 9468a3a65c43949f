//! One layer as every member changed it, and the geometry of the products BA.

use super::matrix::dot;
use super::{LayerError, Matrix};
use crate::adapter::Adapter;
use crate::strategy::{LayerNames, layers};

/// A layer's factors at the start and each member's changes of them.
pub(super) struct Changes {
    /// A at the start: `[rank, inputs]`.
    pub start_a: Matrix,
    /// B at the start: `[outputs, rank]`.
    pub start_b: Matrix,
    a: Vec<Matrix>,
    b: Vec<Matrix>,
}

impl Changes {
    /// The factors of `layer`.
    pub(super) fn of(start: &Adapter, inputs: &[(u64, &Adapter)], layer: &LayerNames) -> Changes {
        let all = |name: &str| {
            inputs.iter().map(|(_, delta)| Matrix::of(&delta.tensors()[name])).collect()
        };
        Changes {
            start_a: Matrix::of(&start.tensors()[&layer.a]),
            start_b: Matrix::of(&start.tensors()[&layer.b]),
            a: all(&layer.a),
            b: all(&layer.b),
        }
    }

    /// How many members there are.
    pub(super) fn members(&self) -> usize {
        self.a.len()
    }

    /// A member's own A.
    pub(super) fn a(&self, member: usize) -> Matrix {
        self.a[member].clone().plus(1.0, &self.start_a)
    }

    /// A member's own B.
    pub(super) fn b(&self, member: usize) -> Matrix {
        self.b[member].clone().plus(1.0, &self.start_b)
    }

    /// Factors whose product is Σ share·B·A: the members' B side by side, each times its share, and
    /// their A on top of each other.
    pub(super) fn factors(&self, shares: &[f64]) -> (Matrix, Matrix) {
        let nothing = Matrix::zeros(self.start_b.rows, self.start_b.columns);
        let left: Vec<_> = (0..self.members())
            .map(|member| nothing.clone().plus(shares[member], &self.b(member)))
            .collect();
        let right: Vec<_> = (0..self.members()).map(|member| self.a(member)).collect();
        (Matrix::beside(&left), Matrix::stacked(&right))
    }

    /// Factors whose product is Σ share·(B − mean B)·(A − mean A).
    pub(super) fn deviations(&self, shares: &[f64]) -> (Matrix, Matrix) {
        let (mean_a, mean_b) = (mean(&self.a, shares), mean(&self.b, shares));
        let nothing = Matrix::zeros(self.start_b.rows, self.start_b.columns);
        let left: Vec<_> = (self.b.iter().zip(shares))
            .map(|(b, share)| nothing.clone().plus(*share, &b.clone().plus(-1.0, &mean_b)))
            .collect();
        let right: Vec<_> = self.a.iter().map(|a| a.clone().plus(-1.0, &mean_a)).collect();
        (Matrix::beside(&left), Matrix::stacked(&right))
    }

    /// What averaging the factors apart misses, row by row, so that no product is held whole.
    ///
    /// With shares p that sum to one, mean(BA) − mean(B)·mean(A) = Σ p (B − mean B)(A − mean A):
    /// nothing cancels, and a factor all members share gives exactly zero.
    pub(super) fn naive_error(&self, shares: &[f64]) -> LayerError {
        let (left, right) = self.deviations(shares);
        let mean_a = mean(&self.a, shares).plus(1.0, &self.start_a);
        let mean_b = mean(&self.b, shares).plus(1.0, &self.start_b);
        let (mut error, mut norm) = (0.0, 0.0);
        let mut row = vec![0.0; right.columns];
        for at in 0..left.rows {
            row.fill(0.0);
            left.add_row_times(at, &right, &mut row);
            error += dot(&row, &row);
            mean_b.add_row_times(at, &mean_a, &mut row);
            norm += dot(&row, &row);
        }
        LayerError { error: error.sqrt() as f32, norm: norm.sqrt() as f32 }
    }
}

/// The inner products ⟨P, Q⟩ of all members' changes of the product, P = BA − B₀A₀, over all layers
/// together.
///
/// ⟨BA, B'A'⟩ = Σ (BᵀB')∘(AA'ᵀ): matrices of the rank's size only.
pub(super) fn gram(start: &Adapter, inputs: &[(u64, &Adapter)]) -> Matrix {
    let members = inputs.len();
    let mut gram = Matrix::zeros(members, members);
    for layer in layers(start) {
        let changes = Changes::of(start, inputs, &layer);
        // The start stands last.
        let mut a: Vec<_> = (0..members).map(|member| changes.a(member)).collect();
        let mut b: Vec<_> = (0..members).map(|member| changes.b(member).transposed()).collect();
        a.push(changes.start_a.clone());
        b.push(changes.start_b.transposed());
        let inner = |i: usize, j: usize| {
            let (left, right) = (b[i].times(&b[j].transposed()), a[i].times(&a[j].transposed()));
            dot(&left.values, &right.values)
        };
        let with_start: Vec<f64> = (0..=members).map(|member| inner(member, members)).collect();
        for i in 0..members {
            for j in i..members {
                let change = inner(i, j) - with_start[i] - with_start[j] + with_start[members];
                gram.row_mut(i)[j] += change;
                if i != j {
                    gram.row_mut(j)[i] += change;
                }
            }
        }
    }
    gram
}

/// ‖P − Q‖² of two members, from the inner products; rounding never makes it negative.
pub(super) fn square_distance(gram: &Matrix, i: usize, j: usize) -> f64 {
    (gram.row(i)[i] + gram.row(j)[j] - 2.0 * gram.row(i)[j]).max(0.0)
}

fn mean(changes: &[Matrix], shares: &[f64]) -> Matrix {
    let nothing = Matrix::zeros(changes[0].rows, changes[0].columns);
    changes.iter().zip(shares).fold(nothing, |sum, (change, share)| sum.plus(*share, change))
}
