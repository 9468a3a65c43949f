//! Scaled dot-product attention with rotary positions, straight from the projections' layout.
//!
//! One key head and its group of query heads at a time: their vectors are gathered and turned, scored, mixed and
//! written where the output projection reads them. Only the probabilities are kept for backward.

use std::sync::Arc;

use burn::backend::flex::FlexTensor;
use rayon::prelude::*;

use super::outer::add_outer;
use super::product::{Panels, Rows, product_into};
use super::sight::{Heads, Sight, Strand};
use super::{Operator, axes, tensor, values, values_mut};
use crate::vector::{exp, max, sum, vectorised};

#[derive(Debug)]
pub(super) struct Attention {
    pub(super) heads: Heads,
    pub(super) sight: Sight,
}

#[derive(Clone, Debug)]
pub(super) struct Saved {
    inputs: [FlexTensor; 3],
    /// `[batch, shared, group * rows, columns]`.
    probabilities: Arc<Vec<f32>>,
}

/// The lengths an attention works with.
#[derive(Clone, Copy)]
struct Sizes {
    rows: usize,
    columns: usize,
    heads: Heads,
    /// Query heads of one key head.
    group: usize,
}

impl Operator<3> for Attention {
    type Saved = Saved;

    fn forward(&self, inputs: [FlexTensor; 3]) -> (FlexTensor, Saved) {
        let sizes = self.sizes(&inputs);
        let [query, key, value] = inputs.each_ref().map(values);
        let [queried, attended] = sizes.lengths();
        let batch = axes(&inputs[0])[0];
        let scores = sizes.heads.count * sizes.rows * sizes.columns;
        let mut out = vec![0.0; query.len()];
        let mut probabilities = vec![0.0; batch * scores];
        let parts = out.par_chunks_mut(queried).zip(probabilities.par_chunks_mut(scores));
        parts.enumerate().for_each(|(row, (out, probabilities))| {
            let [query] = [query].map(|all| &all[row * queried..][..queried]);
            let [key, value] = [key, value].map(|all| &all[row * attended..][..attended]);
            self.attend(sizes, row, [query, key, value], out, probabilities);
        });
        let out = tensor(out, axes(&inputs[0]));
        (out, Saved { inputs, probabilities: Arc::new(probabilities) })
    }

    fn backward(
        &self,
        Saved { inputs, probabilities }: Saved,
        mut gradient: FlexTensor,
        _wanted: [bool; 3],
    ) -> [Option<FlexTensor>; 3] {
        let sizes = self.sizes(&inputs);
        let [query, mut key, mut value] = inputs;
        let [queried, attended] = sizes.lengths();
        let scores = sizes.heads.count * sizes.rows * sizes.columns;
        let given = values(&query).par_chunks(queried).zip(probabilities.par_chunks(scores));
        let pulled = values_mut(&mut gradient).par_chunks_mut(queried).zip(
            values_mut(&mut key)
                .par_chunks_mut(attended)
                .zip(values_mut(&mut value).par_chunks_mut(attended)),
        );
        given.zip(pulled).for_each(|((query, probabilities), (gradient, (key, value)))| {
            self.pull(sizes, query, probabilities, [gradient, key, value]);
        });
        [Some(gradient), Some(key), Some(value)]
    }
}

impl Sizes {
    /// Values of one row of the batch: of queries, of keys.
    fn lengths(self) -> [usize; 2] {
        let Heads { count, shared, width } = self.heads;
        [self.rows * count * width, self.columns * shared * width]
    }
}

impl Attention {
    fn sizes(&self, inputs: &[FlexTensor; 3]) -> Sizes {
        let heads = self.heads;
        let [rows, columns] = [axes(&inputs[0])[1], axes(&inputs[1])[1]];
        Sizes { rows, columns, heads, group: heads.count / heads.shared }
    }

    /// How the queries of one row of the batch lie, and its keys.
    fn strands(&self, sizes: Sizes) -> [Strand<'_>; 2] {
        let Heads { count, shared, width } = sizes.heads;
        let angles = self.sight.0.as_deref().map(|order| &order.angles);
        let first = sizes.columns - sizes.rows;
        let scale = 1.0 / (width as f32).sqrt();
        [
            Strand { angles, first, stride: count * width, width, scale },
            Strand { angles, first: 0, stride: shared * width, width, scale: 1.0 },
        ]
    }

    /// One row of the batch, forward.
    fn attend(
        &self,
        sizes: Sizes,
        row: usize,
        [query, key, value]: [&[f32]; 3],
        out: &mut [f32],
        probabilities: &mut [f32],
    ) {
        let Sizes { rows, columns, heads: Heads { count, shared, width }, group } = sizes;
        let [of_queries, of_keys] = self.strands(sizes);
        let order = self.sight.0.as_deref();
        let parts = probabilities.chunks_exact_mut(group * rows * columns).enumerate();
        for (head, scores) in parts {
            let queries = of_queries.gather(query, head * group..(head + 1) * group);
            let keys = of_keys.gather(key, head..head + 1);
            let keys = Panels::of_transposed(Rows::new(&keys, width), [columns, width]);
            product_into((Rows::new(&queries, width), &keys), group * rows, scores, columns);
            for (at, scores) in scores.chunks_exact_mut(columns).enumerate() {
                let position = columns - rows + at % rows;
                let seen = order.map_or(0..columns, |order| order.seen(row, position));
                scores[..seen.start].fill(0.0);
                scores[seen.end..].fill(0.0);
                probabilities_of(&mut scores[seen]);
            }
            let values = Rows::new(&value[head * width..], shared * width);
            let values = Panels::of(values, [columns, width]);
            for (member, scores) in scores.chunks_exact(rows * columns).enumerate() {
                let out = &mut out[(head * group + member) * width..];
                let scores = Rows::new(scores, columns);
                product_into((scores, &values), rows, out, count * width);
            }
        }
    }

    /// One row of the batch, backward. The gradients take the places of the output's gradient, the keys and
    /// the values, each head's when the head has been read.
    fn pull(
        &self,
        sizes: Sizes,
        query: &[f32],
        probabilities: &[f32],
        [gradient, key, value]: [&mut [f32]; 3],
    ) {
        let Sizes { rows, columns, heads: Heads { shared, width, .. }, group } = sizes;
        let [of_queries, of_keys] = self.strands(sizes);
        let depth = group * rows;
        let mut scores = vec![0.0; depth * columns];
        let mut pulled = vec![0.0; depth.max(columns) * width];
        for (head, shares) in probabilities.chunks_exact(depth * columns).enumerate() {
            let members = head * group..(head + 1) * group;
            let queries = of_queries.gather(query, members.clone());
            let keys = of_keys.gather(key, head..head + 1);
            let mixed = of_queries.unturned().gather(gradient, members.clone());
            let mixed = Rows::new(&mixed, width);

            let values = Rows::new(&value[head * width..], shared * width);
            let values = Panels::of_transposed(values, [columns, width]);
            product_into((mixed, &values), depth, &mut scores, columns);
            pull_probabilities(shares, columns, &mut scores);
            let scores = Rows::new(&scores, columns);

            let pulled_keys = &mut pulled[..columns * width];
            pulled_keys.fill(0.0);
            add_outer(Rows::new(shares, columns), mixed, depth, pulled_keys, width);
            of_keys.unturned().scatter(pulled_keys, head..head + 1, value);
            pulled_keys.fill(0.0);
            add_outer(scores, Rows::new(&queries, width), depth, pulled_keys, width);
            of_keys.scatter(pulled_keys, head..head + 1, key);

            let keys = Panels::of(Rows::new(&keys, width), [columns, width]);
            let pulled_queries = &mut pulled[..depth * width];
            product_into((scores, &keys), depth, pulled_queries, width);
            of_queries.scatter(pulled_queries, members, gradient);
        }
    }
}

vectorised! {
    /// Softmax in place.
    fn probabilities_of(scores: &mut [f32]) {
        let largest = max(scores);
        scores.iter_mut().for_each(|score| *score = exp(*score - largest));
        let share = 1.0 / sum(scores.len(), |at| scores[at]);
        scores.iter_mut().for_each(|score| *score *= share);
    }
}

vectorised! {
    /// Turns the gradient of every row's probabilities into that of its scores.
    fn pull_probabilities(probabilities: &[f32], columns: usize, gradient: &mut [f32]) {
        let rows = probabilities.chunks_exact(columns).zip(gradient.chunks_exact_mut(columns));
        for (shares, gradient) in rows {
            let along = sum(columns, |at| shares[at] * gradient[at]);
            for (gradient, share) in gradient.iter_mut().zip(shares) {
                *gradient = share * (*gradient - along);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Tensor;

    use super::super::twins::{assert_equal, gradient, random, run};
    use super::*;
    use crate::fused::attention;
    use crate::fused::sight::plain;

    fn assert_twins([rows, columns]: [usize; 2], heads: Heads, sight: &Sight) {
        let Heads { count, shared, width } = heads;
        let query = random([2, rows, count * width], 1);
        let key = random([2, columns, shared * width], 2);
        let value = random([2, columns, shared * width], 3);
        let inputs = || [query.clone(), key.clone(), value.clone()];
        let outcome = |output: Tensor<3>| {
            let (values, gradients) = run(output);
            let of = |input| gradient(input, &gradients);
            [values, of(&query), of(&key), of(&value)]
        };
        assert_equal(
            outcome(attention(inputs(), heads, sight)),
            outcome(plain(inputs(), heads, sight)),
        );
    }

    #[test]
    fn attention_over_everything_and_its_twin_agree() {
        assert_twins([16, 16], Heads { count: 4, shared: 4, width: 32 }, &Sight::everywhere());
        assert_twins([5, 37], Heads { count: 2, shared: 1, width: 12 }, &Sight::everywhere());
    }

    #[test]
    fn attention_to_what_came_before_and_its_twin_agree() {
        let heads = Heads { count: 4, shared: 2, width: 32 };
        let sight = Sight::backward(&[0, 9], 27, 32, 10_000);
        for rows in [27, 16, 1] {
            assert_twins([rows, 27], heads, &sight);
        }
    }
}
