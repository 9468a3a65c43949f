//! The geometric median of the products (RFA, Pillutla et al., arXiv 1912.13445): the point whose
//! distances to all members' changes have the smallest sum, which fewer than half of them cannot
//! carry away.
//!
//! Smoothed Weiszfeld iterations, a fixed number of them: z ← Σ P/d(P) ÷ Σ 1/d(P). The point is
//! always a mean of the members' products, hence only their inner products are needed.

use super::Matrix;
use super::rule::ProductRule;

/// See the module.
pub(super) struct GeometricMedian;

impl ProductRule for GeometricMedian {
    /// Each member's share of the median; they sum to one.
    fn shares(&self, gram: &Matrix) -> Vec<f64> {
        let members = gram.rows;
        let longest = (0..members).map(|i| gram.row(i)[i]).fold(0.0, f64::max);
        let nearest = (longest.sqrt() * SMOOTHING).max(f64::MIN_POSITIVE);
        let mut shares = vec![1.0 / members as f64; members];
        for _ in 0..ITERATIONS {
            let reach: Vec<f64> =
                (0..members).map(|i| super::matrix::dot(gram.row(i), &shares)).collect();
            let square = super::matrix::dot(&reach, &shares);
            let nearness: Vec<f64> = (0..members)
                .map(|i| {
                    let distance = (square - 2.0 * reach[i] + gram.row(i)[i]).max(0.0).sqrt();
                    1.0 / distance.max(nearest)
                })
                .collect();
            let total: f64 = nearness.iter().sum();
            shares = nearness.into_iter().map(|near| near / total).collect();
        }
        shares
    }
}

/// The paper finds three enough; more cost nothing here.
const ITERATIONS: usize = 16;
/// A member nearer than this part of the longest change counts as that near.
const SMOOTHING: f64 = 1e-6;

#[cfg(test)]
mod tests {
    use super::*;

    /// Inner products of points on a line.
    fn line(points: &[f64]) -> Matrix {
        let values = points.iter().flat_map(|a| points.iter().map(move |b| a * b)).collect();
        Matrix { rows: points.len(), columns: points.len(), values }
    }

    #[test]
    fn one_far_point_hardly_moves_it() {
        let points = [1.0, 1.1, 0.9, 1.05, 1000.0];
        let median: f64 =
            GeometricMedian.shares(&line(&points)).iter().zip(points).map(|(s, p)| s * p).sum();
        assert!((median - 1.05).abs() < 0.06, "{median}");
    }

    #[test]
    fn of_equal_points_everyone_has_the_same_share() {
        assert_eq!(GeometricMedian.shares(&line(&[0.0, 0.0])), [0.5, 0.5]);
        assert_eq!(GeometricMedian.shares(&line(&[2.0])), [1.0]);
    }
}
