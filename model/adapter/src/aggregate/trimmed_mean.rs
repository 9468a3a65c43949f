//! The coordinate-wise trimmed mean (Yin et al., arXiv 1803.01498) of the products: of each number
//! of BA the largest and smallest few are left out and the rest averaged.
//!
//! What comes out has any rank; it is split as [`super::split`] does, into the best factors
//! within what the members' own rows and columns span.

use super::products::Changes;
use super::rule::Rule;
use super::split::{span, split};
use super::{AggregateError, Matrix};
use crate::adapter::Adapter;
use crate::committed::Committed;
use crate::strategy::layers;
use crate::tensors::Weights;

/// See the module.
pub(super) struct TrimmedMean {
    /// How many are left out at each end.
    pub trim: usize,
}

impl Rule for TrimmedMean {
    fn keeps_factors(&self) -> bool {
        false
    }

    fn combine(
        &self,
        start: &Committed,
        inputs: &[(u64, &Adapter)],
        _shares: &[f64],
    ) -> Result<Committed, AggregateError> {
        Ok(combine(&start.adapter, inputs, self.trim))
    }
}

/// The trimmed mean of the members' products; `trim` at each end, fewer if that would leave nobody.
fn combine(start: &Adapter, inputs: &[(u64, &Adapter)], trim: usize) -> Committed {
    let mut tensors = Weights::new();
    for layer in layers(start) {
        let changes = Changes::of(start, inputs, &layer);
        let mean = mean(&changes, trim);
        let (left, right) = changes.factors(&vec![1.0; inputs.len()]);
        let (rows, columns) = (span(left.transposed()), span(right));
        let core = rows.times(&mean).times(&columns.transposed());
        let (a, b) = split(&core, [&rows, &columns], &changes.start_a);
        tensors.insert(layer.a, a.to_tensor());
        tensors.insert(layer.b, b.to_tensor());
    }
    Committed::plain(Adapter::from_tensors(tensors))
}

fn mean(changes: &Changes, trim: usize) -> Matrix {
    let members = changes.members();
    let trim = trim.min((members - 1) / 2);
    let products: Vec<_> =
        (0..members).map(|member| changes.b(member).times(&changes.a(member))).collect();
    let mut mean = Matrix::zeros(products[0].rows, products[0].columns);
    let mut numbers = vec![0.0; members];
    for (at, value) in mean.values.iter_mut().enumerate() {
        for (number, product) in numbers.iter_mut().zip(&products) {
            *number = product.values[at];
        }
        numbers.sort_by(f64::total_cmp);
        let kept = &numbers[trim..members - trim];
        *value = kept.iter().sum::<f64>() / kept.len() as f64;
    }
    mean
}
