//! Multi-Krum (Blanchard et al., NeurIPS 2017) on the products: of n members of whom f may be
//! hostile, each is scored by the squared distances to its n − f − 2 nearest neighbours, and the n
//! − f − 2 best are averaged.
//!
//! The proof needs n ≥ 2f + 3. A round may close with fewer updates than the roster; f is then
//! taken as the most that n allows, and the federation file should state no more than a quorum
//! allows.

use super::Matrix;
use super::products::square_distance;
use super::rule::ProductRule;

/// See the module.
pub(super) struct MultiKrum {
    /// How many members may be hostile.
    pub f: usize,
}

impl ProductRule for MultiKrum {
    /// Each member's share: the same for those chosen, nothing for the others.
    fn shares(&self, gram: &Matrix) -> Vec<f64> {
        let members = gram.rows;
        let f = self.f.min(members.saturating_sub(3) / 2);
        let near = members.saturating_sub(f + 2).max(1);
        let score = |i: usize| -> f64 {
            let others = (0..members).filter(|j| *j != i);
            let mut distances: Vec<f64> = others.map(|j| square_distance(gram, i, j)).collect();
            distances.sort_by(f64::total_cmp);
            distances.iter().take(near).sum()
        };
        let mut order: Vec<(f64, usize)> = (0..members).map(|i| (score(i), i)).collect();
        order.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let mut shares = vec![0.0; members];
        order.iter().take(near).for_each(|(_, i)| shares[*i] = 1.0 / near as f64);
        shares
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outlier_is_left_out_and_ties_go_to_the_first() {
        let points = [1.0, 1.1, -30.0, 0.9, 1.0, 1.0];
        let values = points.iter().flat_map(|a| points.iter().map(move |b| a * b)).collect();
        let gram = Matrix { rows: 6, columns: 6, values };
        let chosen = MultiKrum { f: 1 }.shares(&gram);
        assert_eq!(chosen[2], 0.0);
        assert_eq!(chosen.iter().filter(|share| **share == 1.0 / 3.0).count(), 3, "{chosen:?}");
        assert_eq!(chosen[0], chosen[4]);
    }

    #[test]
    fn with_too_few_members_for_f_somebody_is_still_chosen() {
        for members in 1..5 {
            let chosen = MultiKrum { f: 5 }.shares(&Matrix::zeros(members, members));
            assert_eq!(chosen.iter().sum::<f64>(), 1.0, "{members}: {chosen:?}");
        }
    }
}
