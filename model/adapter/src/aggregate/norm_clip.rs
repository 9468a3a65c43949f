//! Norm clipping (Sun et al., arXiv 1911.07963) of the products: a member whose change of BA is
//! longer than that of most is scaled down to it. The paper's bound is a constant; here it is the
//! round's median norm times a factor, so that nobody must guess how long changes are, and less
//! than half of the members cannot move it far.

use super::Matrix;
use super::rule::ProductRule;

/// See the module.
pub(super) struct NormClip {
    /// Times the median norm: what no change exceeds.
    pub factor: f64,
}

impl ProductRule for NormClip {
    /// Each member's share: one of the members, times how much it is scaled down.
    fn shares(&self, gram: &Matrix) -> Vec<f64> {
        let members = gram.rows;
        let norms: Vec<f64> = (0..members).map(|i| gram.row(i)[i].max(0.0).sqrt()).collect();
        let mut sorted = norms.clone();
        sorted.sort_by(f64::total_cmp);
        let bound = self.factor * sorted[(members - 1) / 2];
        let scale = |norm: f64| if norm > bound { bound / norm } else { 1.0 };
        norms.into_iter().map(|norm| scale(norm) / members as f64).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_longer_than_the_median_is_scaled_down() {
        let mut gram = Matrix::zeros(3, 3);
        for (at, norm) in [1.0, 100.0, 2.0].into_iter().enumerate() {
            gram.row_mut(at)[at] = norm * norm;
        }
        let third = 1.0 / 3.0;
        assert_eq!(NormClip { factor: 1.0 }.shares(&gram), [third, 0.02 / 3.0, third]);
        assert_eq!(NormClip { factor: 50.0 }.shares(&gram), [third, third, third]);
    }
}
