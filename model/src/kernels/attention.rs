//! Scaled dot-product attention with rotary positions, straight from the projections' layout.
//!
//! One key head and its group of query heads at a time: their vectors are gathered and rotated,
//! scored, mixed and written where the output projection reads them. Columns that no row of a block
//! reads are not computed. Only the probabilities of short rows are kept for backward.

use std::ops::Range;
use std::sync::Arc;

use burn::backend::flex::FlexTensor;
use rayon::prelude::*;
use witan_adapter::vector::{exp, max, sum, vectorised};

use super::mask::{AttentionMask, HeadView, Heads};
use super::outer::add_outer;
use super::product::{Panels, Rows, product_within};
use super::{Operator, axes, tensor, values, values_mut};

#[derive(Debug)]
pub(super) struct Attention {
    pub(super) heads: Heads,
    pub(super) mask: AttentionMask,
}

#[derive(Clone, Debug)]
pub(super) struct Saved {
    inputs: [FlexTensor; 3],
    /// `[batch, shared, group * rows, columns]`; empty if they are to be computed again.
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
        let keeps = sizes.columns <= KEPT_COLUMNS;
        let mut out = vec![0.0; query.len()];
        let mut kept =
            vec![0.0; if keeps { batch * sizes.scores() * sizes.heads.shared } else { 0 }];
        let rows = out.par_chunks_mut(queried).enumerate();
        let attend = |row: usize, out: &mut [f32], kept: &mut [f32]| {
            let query = &query[row * queried..][..queried];
            let [key, value] = [key, value].map(|all| &all[row * attended..][..attended]);
            self.attend((sizes, row), [query, key, value], out, kept);
        };
        match keeps {
            true => rows
                .zip(kept.par_chunks_mut(sizes.scores() * sizes.heads.shared))
                .for_each(|((row, out), kept)| attend(row, out, kept)),
            false => rows.for_each(|(row, out)| attend(row, out, &mut [])),
        }
        let out = tensor(out, axes(&inputs[0]));
        (out, Saved { inputs, probabilities: Arc::new(kept) })
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
        let all = probabilities.len() * queried / values(&query).len();
        let given = values(&query).par_chunks(queried).enumerate();
        let outputs = values_mut(&mut gradient).par_chunks_mut(queried).zip(
            values_mut(&mut key)
                .par_chunks_mut(attended)
                .zip(values_mut(&mut value).par_chunks_mut(attended)),
        );
        given.zip(outputs).for_each(|((row, query), (gradient, (key, value)))| {
            let kept = &probabilities[row * all..][..all];
            self.backward_row((sizes, row), (query, kept), [gradient, key, value]);
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

    /// Scores of one key head in one row of the batch.
    fn scores(self) -> usize {
        self.group * self.rows * self.columns
    }

    /// The rows of a group's queries in blocks, each with its first position.
    fn blocks(self) -> impl Iterator<Item = (Range<usize>, usize)> {
        let Sizes { rows, columns, group, .. } = self;
        (0..group).flat_map(move |member| {
            (0..rows).step_by(BLOCK_ROWS).map(move |start| {
                let end = rows.min(start + BLOCK_ROWS);
                (member * rows + start..member * rows + end, columns - rows + start)
            })
        })
    }
}

/// One head's gradients, before they are rotated back.
struct HeadGradients {
    queries: Vec<f32>,
    keys: Vec<f32>,
    values: Vec<f32>,
}

impl Attention {
    fn sizes(&self, inputs: &[FlexTensor; 3]) -> Sizes {
        let heads = self.heads;
        let [rows, columns] = [axes(&inputs[0])[1], axes(&inputs[1])[1]];
        Sizes { rows, columns, heads, group: heads.count / heads.shared }
    }

    /// How the queries of one row of the batch lie, and its keys.
    fn head_views(&self, sizes: Sizes, row: usize) -> [HeadView<'_>; 2] {
        let Heads { count, shared, width } = sizes.heads;
        let angles = self.mask.0.as_deref().map(|rows| &rows.angles);
        let start = angles.map_or(0, |angles| angles.start(row));
        let first = start + sizes.columns - sizes.rows;
        let scale = 1.0 / (width as f32).sqrt();
        [
            HeadView { angles, first, stride: count * width, width, scale },
            HeadView { angles, first: start, stride: shared * width, width, scale: 1.0 },
        ]
    }

    /// The columns that a position of a row of the batch reads.
    fn visible(&self, columns: usize, row: usize, position: usize) -> Range<usize> {
        self.mask.0.as_deref().map_or(0..columns, |rows| rows.visible(row, position))
    }

    /// One row of the batch, forward; a thread a head.
    fn attend(
        &self,
        (sizes, row): (Sizes, usize),
        [query, key, value]: [&[f32]; 3],
        out: &mut [f32],
        kept: &mut [f32],
    ) {
        let Sizes { rows, columns, heads: Heads { shared, width, .. }, group } = sizes;
        let [of_queries, of_keys] = self.head_views(sizes, row);
        let mix = |head: usize, scores: &mut [f32]| {
            let queries = of_queries.gather(query, head * group..(head + 1) * group);
            let keys = of_keys.gather(key, head..head + 1);
            self.score((sizes, row), [&queries, &keys], scores);
            let values = Rows::new(&value[head * width..], shared * width);
            let values = Panels::of(values, [columns, width]);
            let mut mixed = vec![0.0; group * rows * width];
            for (block, position) in sizes.blocks() {
                let depth = self.visible(columns, row, position + block.len() - 1).end;
                let scores = Rows::new(scores, columns).from(block.start);
                let out = &mut mixed[block.start * width..block.end * width];
                product_within((scores, &values), [block.len(), depth, width], out, width);
            }
            mixed
        };
        let mixed: Vec<Vec<f32>> = match kept {
            [] => (0..shared)
                .into_par_iter()
                .map(|head| mix(head, &mut vec![0.0; sizes.scores()]))
                .collect(),
            kept => {
                let scores = kept.par_chunks_exact_mut(sizes.scores()).enumerate();
                scores.map(|(head, scores)| mix(head, scores)).collect()
            }
        };
        for (head, mixed) in mixed.iter().enumerate() {
            of_queries.unrotated().scatter(mixed, head * group..(head + 1) * group, out);
        }
    }

    /// The probabilities of one head's group.
    fn score(
        &self,
        (sizes, row): (Sizes, usize),
        [queries, keys]: [&[f32]; 2],
        scores: &mut [f32],
    ) {
        let Sizes { columns, heads: Heads { width, .. }, .. } = sizes;
        let keys = Panels::of_transposed(Rows::new(keys, width), [columns, width]);
        for (block, position) in sizes.blocks() {
            let wanted = self.visible(columns, row, position + block.len() - 1).end;
            let queries = Rows::new(queries, width).from(block.start);
            let scores = &mut scores[block.start * columns..block.end * columns];
            product_within((queries, &keys), [block.len(), width, wanted], scores, columns);
            for (at, scores) in scores.chunks_exact_mut(columns).enumerate() {
                let visible = self.visible(columns, row, position + at);
                scores[..visible.start].fill(0.0);
                scores[visible.end..].fill(0.0);
                probabilities_of(&mut scores[visible]);
            }
        }
    }

    /// One row of the batch, backward; a thread a head. The gradients take the places of the
    /// output's gradient, the keys and the values.
    fn backward_row(
        &self,
        (sizes, row): (Sizes, usize),
        (query, kept): (&[f32], &[f32]),
        [gradient, key, value]: [&mut [f32]; 3],
    ) {
        let Sizes { heads: Heads { shared, .. }, group, .. } = sizes;
        let [of_queries, of_keys] = self.head_views(sizes, row);
        let members = |head: usize| head * group..(head + 1) * group;
        let gradients: Vec<HeadGradients> = (0..shared)
            .into_par_iter()
            .map(|head| {
                let queries = of_queries.gather(query, members(head));
                let keys = of_keys.gather(key, head..head + 1);
                let mixed = of_queries.unrotated().gather(gradient, members(head));
                let mut scored = Vec::new();
                let shares = match kept {
                    [] => {
                        scored.resize(sizes.scores(), 0.0);
                        self.score((sizes, row), [&queries, &keys], &mut scored);
                        &scored[..]
                    }
                    kept => &kept[head * sizes.scores()..][..sizes.scores()],
                };
                let vectors = [&queries[..], &keys, &mixed];
                self.backward_head((sizes, row, head), shares, vectors, value)
            })
            .collect();
        for (head, HeadGradients { queries, keys, values }) in gradients.iter().enumerate() {
            of_queries.scatter(queries, members(head), gradient);
            of_keys.scatter(keys, head..head + 1, key);
            of_keys.unrotated().scatter(values, head..head + 1, value);
        }
    }

    /// # Shapes
    /// - shares: `[group * rows, columns]`
    /// - queries and mixed: `[group * rows, width]`, keys: `[columns, width]`
    /// - value: one row of the batch
    fn backward_head(
        &self,
        (sizes, row, head): (Sizes, usize, usize),
        shares: &[f32],
        [queries, keys, mixed]: [&[f32]; 3],
        value: &[f32],
    ) -> HeadGradients {
        let Sizes { rows, columns, heads: Heads { shared, width, .. }, group } = sizes;
        let depth = group * rows;
        let (queries, mixed) = (Rows::new(queries, width), Rows::new(mixed, width));
        let values = Rows::new(&value[head * width..], shared * width);
        let values = Panels::of_transposed(values, [columns, width]);
        let mut scores = vec![0.0; depth * columns];
        for (block, position) in sizes.blocks() {
            let wanted = self.visible(columns, row, position + block.len() - 1).end;
            let out = &mut scores[block.start * columns..block.end * columns];
            let sizes = [block.len(), width, wanted];
            product_within((mixed.from(block.start), &values), sizes, out, columns);
        }
        backward_probabilities(shares, columns, &mut scores);
        let mut gradients = HeadGradients {
            queries: vec![0.0; depth * width],
            keys: vec![0.0; columns * width],
            values: vec![0.0; columns * width],
        };
        add_outer(Rows::new(shares, columns), mixed, depth, &mut gradients.values, width);
        add_outer(Rows::new(&scores, columns), queries, depth, &mut gradients.keys, width);
        let keys = Panels::of(Rows::new(keys, width), [columns, width]);
        for (block, position) in sizes.blocks() {
            let depth = self.visible(columns, row, position + block.len() - 1).end;
            let scores = Rows::new(&scores, columns).from(block.start);
            let out = &mut gradients.queries[block.start * width..block.end * width];
            product_within((scores, &keys), [block.len(), depth, width], out, width);
        }
        gradients
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
    fn backward_probabilities(probabilities: &[f32], columns: usize, gradient: &mut [f32]) {
        let rows = probabilities.chunks_exact(columns).zip(gradient.chunks_exact_mut(columns));
        for (shares, gradient) in rows {
            let along = sum(columns, |at| shares[at] * gradient[at]);
            for (gradient, share) in gradient.iter_mut().zip(shares) {
                *gradient = share * (*gradient - along);
            }
        }
    }
}

/// Rows of queries scored together, against the columns that the last of them reads.
const BLOCK_ROWS: usize = 64;
/// Columns up to which probabilities are kept for backward; of longer rows they are most of the
/// memory, and scoring again costs a sixth of the layer.
pub(crate) const KEPT_COLUMNS: usize = 128;

#[cfg(test)]
mod tests {
    use burn::tensor::Tensor;

    use super::super::reference::{assert_equal, gradient, random, run};
    use super::*;
    use crate::kernels::attention;
    use crate::kernels::mask::plain;
    use crate::precision::Precision;

    fn assert_matches_reference([rows, columns]: [usize; 2], heads: Heads, mask: &AttentionMask) {
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
            outcome(attention(inputs(), heads, mask, Precision::Float32)),
            outcome(plain(inputs(), heads, mask, Precision::Float32)),
        );
    }

    #[test]
    fn attention_over_everything_and_its_twin_agree() {
        assert_matches_reference(
            [16, 16],
            Heads { count: 4, shared: 4, width: 32 },
            &AttentionMask::full(),
        );
        assert_matches_reference(
            [5, 37],
            Heads { count: 2, shared: 1, width: 12 },
            &AttentionMask::full(),
        );
    }

    #[test]
    fn attention_to_what_came_before_and_its_twin_agree() {
        let heads = Heads { count: 4, shared: 2, width: 32 };
        let mask = AttentionMask::causal(&[0, 9], 0..27, 32, 10_000);
        let each_its_own =
            AttentionMask::causal_with_angles(&[0, 9], 0..27, 32, |[row, position, pair]| {
                (row + 1) as f64 * position as f64 * 0.3 / (pair + 1) as f64
            });
        for rows in [27, 16, 1] {
            assert_matches_reference([rows, 27], heads, &mask);
            assert_matches_reference([rows, 27], heads, &each_its_own);
        }
        let read_on = AttentionMask::causal(&[0, 9], 11..27, 32, 10_000);
        for rows in [16, 1] {
            assert_matches_reference([rows, 27], heads, &read_on);
        }
    }

    #[test]
    fn attention_of_rows_too_long_to_keep_their_probabilities_and_its_twin_agree() {
        let (length, heads) = (KEPT_COLUMNS + 31, Heads { count: 4, shared: 2, width: 8 });
        let mask = AttentionMask::causal(&[0, 70], 0..length, 8, 10_000);
        for rows in [length, 67] {
            assert_matches_reference([rows, length], heads, &mask);
            assert_matches_reference([rows, length], heads, &AttentionMask::full());
        }
    }
}
