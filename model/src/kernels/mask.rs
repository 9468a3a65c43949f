//! The attention mask with rotary embeddings, and attention by plain operators.
//!
//! Rotation follows Llama and Qwen: half-split pairs (RoPE, Su et al., arXiv 2104.09864).

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use burn::tensor::activation::softmax;
use burn::tensor::{Device, Tensor, TensorData};

use crate::precision::Precision;

/// How an attention layer cuts its width into heads.
#[derive(Clone, Copy, Debug)]
pub struct Heads {
    /// Query heads.
    pub count: usize,
    /// Key and value heads; each serves `count / shared` query heads.
    pub shared: usize,
    /// Width of one head.
    pub width: usize,
}

/// Which positions may attend to which, and by how much their queries and keys are rotated.
#[derive(Clone, Debug)]
pub struct AttentionMask(pub(super) Option<Arc<CausalRows>>);

/// Rows under a causal mask.
#[derive(Debug)]
pub(super) struct CausalRows {
    /// Masked positions at the start of each row.
    padding: Vec<usize>,
    /// The first position with a query; those before it have keys and values only.
    first: usize,
    pub(super) angles: Angles,
    dense: OnceLock<Dense>,
}

/// The cosines and sines of rotary positions: `[rows or 1, positions, width / 2]` each.
#[derive(Debug)]
pub(super) struct Angles {
    cosine: Vec<f32>,
    sine: Vec<f32>,
    length: usize,
    half: usize,
}

/// The same as tensors on a device, for plain operators.
#[derive(Debug)]
struct Dense {
    /// `[batch or 1, positions, 1, width / 2]` each.
    angles: [Tensor<4>; 2],
    /// Added to the scores: `[batch, 1, queries, positions]`.
    mask: Tensor<4>,
}

impl AttentionMask {
    /// Every position attends to every position; nothing is rotated.
    pub fn full() -> AttentionMask {
        AttentionMask(None)
    }

    /// A causal mask of left-padded rows: `padding` masked positions, then each position attends to
    /// itself and those before it. Only those in `queries`, to a row's end, have a query. Queries
    /// and keys of `width` are rotated by their position.
    pub fn causal(
        padding: &[usize],
        queries: Range<usize>,
        width: usize,
        theta: u32,
    ) -> AttentionMask {
        let half = width / 2;
        let angle = |[_, position, pair]: [usize; 3]| {
            position as f64 * frequency(f64::from(theta), pair, half)
        };
        AttentionMask::rotated(padding, queries.start, Angles::new([1, queries.end, half], angle))
    }

    /// The same where `angle([row, position, pair])` is the rotation of each pair of channels.
    pub fn causal_with_angles(
        padding: &[usize],
        queries: Range<usize>,
        width: usize,
        angle: impl Fn([usize; 3]) -> f64,
    ) -> AttentionMask {
        let angles = Angles::new([padding.len(), queries.end, width / 2], angle);
        AttentionMask::rotated(padding, queries.start, angles)
    }

    fn rotated(padding: &[usize], first: usize, angles: Angles) -> AttentionMask {
        let (padding, dense) = (padding.to_vec(), OnceLock::new());
        AttentionMask(Some(Arc::new(CausalRows { padding, first, angles, dense })))
    }
}

/// The angle by which one position rotates pair `pair` of `half` pairs.
pub(crate) fn frequency(theta: f64, pair: usize, half: usize) -> f64 {
    theta.powf(-(pair as f64) / half as f64)
}

impl CausalRows {
    /// The columns that a position of a row attends to; a padded one attends to itself.
    pub(super) fn visible(&self, row: usize, position: usize) -> Range<usize> {
        self.padding[row].min(position)..position + 1
    }

    fn dense(&self, device: &Device) -> &Dense {
        self.dense.get_or_init(|| {
            let Angles { length, half, .. } = self.angles;
            let rows = self.angles.cosine.len() / (length * half);
            let queries = length - self.first;
            let mut mask = vec![MASKED; self.padding.len() * queries * length];
            for (at, columns) in mask.chunks_exact_mut(length).enumerate() {
                columns[self.visible(at / queries, self.first + at % queries)].fill(0.0);
            }
            let table = |values: &Vec<f32>| {
                Tensor::from_data(TensorData::new(values.clone(), [rows, length, 1, half]), device)
            };
            let mask = TensorData::new(mask, [self.padding.len(), 1, queries, length]);
            Dense {
                angles: [&self.angles.cosine, &self.angles.sine].map(table),
                mask: Tensor::from_data(mask, device),
            }
        })
    }
}

impl Angles {
    fn new([rows, length, half]: [usize; 3], angle: impl Fn([usize; 3]) -> f64) -> Angles {
        let table = |of: fn(f64) -> f64| -> Vec<f32> {
            let place = |at: usize| [at / half / length, at / half % length, at % half];
            (0..rows * length * half).map(|at| of(angle(place(at))) as f32).collect()
        };
        Angles { cosine: table(f64::cos), sine: table(f64::sin), length, half }
    }

    /// Where the positions of a row of the batch begin.
    pub(super) fn start(&self, row: usize) -> usize {
        if self.cosine.len() > self.length * self.half { row * self.length } else { 0 }
    }
}

/// See [`super::attention`].
pub(super) fn plain(
    [query, key, value]: [Tensor<3>; 3],
    heads: Heads,
    AttentionMask(causal): &AttentionMask,
    precision: Precision,
) -> Tensor<3> {
    let [batch, rows, _] = query.dims();
    let [_, columns, _] = key.dims();
    let Heads { count, shared, width } = heads;
    let dense = causal.as_ref().map(|rows| rows.dense(&query.device()));
    let rotated = |vectors: Tensor<4>| match dense {
        Some(dense) => rotate(vectors, &dense.angles),
        None => vectors,
    };
    let query = rotated(query.reshape([batch, rows, count, width]));
    let key = rotated(key.reshape([batch, columns, shared, width])).swap_dims(1, 2);
    let value = value.reshape([batch, columns, shared, width]).swap_dims(1, 2);
    let group = count / shared;
    let query = query
        .mul_scalar(1.0 / (width as f64).sqrt())
        .reshape([batch, rows, shared, group, width])
        .permute([0, 2, 3, 1, 4])
        .reshape([batch, shared, group * rows, width]);
    let scores = precision.product(query, key.swap_dims(2, 3));
    let scores = match dense {
        Some(Dense { mask, .. }) => {
            let queries = mask.dims()[2];
            scores.add(mask.clone().narrow(2, queries - rows, rows).repeat_dim(2, group))
        }
        None => scores,
    };
    precision
        .product(softmax(scores, 3), value)
        .reshape([batch, shared, group, rows, width])
        .permute([0, 3, 1, 2, 4])
        .reshape([batch, rows, count * width])
}

/// Rotates the vectors of the last positions, each head's first half of channels with its second.
///
/// # Shapes
/// - vectors and output: `[batch, rows, heads, width]`
/// - angles: cosines and sines, `[batch or 1, positions, 1, width / 2]`
pub(crate) fn rotate(vectors: Tensor<4>, angles: &[Tensor<4>; 2]) -> Tensor<4> {
    let [_, rows, _, width] = vectors.dims();
    let [_, length, _, half] = angles[0].dims();
    let [cosine, sine] =
        angles.each_ref().map(|table| table.clone().narrow(1, length - rows, rows));
    let first = vectors.clone().narrow(3, 0, half);
    let second = vectors.narrow(3, half, width - half);
    Tensor::cat(rotate_pairs([first, second], [cosine, sine]).to_vec(), 3)
}

/// Rotates pairs of channels, of which these are all first and all second ones.
pub(crate) fn rotate_pairs(
    [first, second]: [Tensor<4>; 2],
    [cosine, sine]: [Tensor<4>; 2],
) -> [Tensor<4>; 2] {
    let rotated = first.clone().mul(cosine.clone()).sub(second.clone().mul(sine.clone()));
    [rotated, second.mul(cosine).add(first.mul(sine))]
}

/// The cosines and sines of the angles of `half` pairs of channels at each place:
/// `[1, places, 1, half]` each.
pub(crate) fn angle_tables(angles: &[f64], half: usize, device: &Device) -> [Tensor<4>; 2] {
    [f64::cos as fn(f64) -> f64, f64::sin].map(|of| {
        let values: Vec<f32> = angles.iter().map(|angle| of(*angle) as f32).collect();
        Tensor::from_data(TensorData::new(values, [1, angles.len() / half, 1, half]), device)
    })
}

/// How the heads of a projection lie in one row of the batch, and how they are rotated.
#[derive(Clone, Copy)]
pub(super) struct HeadView<'a> {
    pub(super) angles: Option<&'a Angles>,
    /// Position of the first row.
    pub(super) first: usize,
    /// Values of one row, all heads together.
    pub(super) stride: usize,
    /// Values of one head.
    pub(super) width: usize,
    /// Multiplies what is gathered or scattered.
    pub(super) scale: f32,
}

impl HeadView<'_> {
    pub(super) fn unrotated(self) -> Self {
        HeadView { angles: None, scale: 1.0, ..self }
    }

    /// Some heads one below the other, rotated: `[heads * rows, width]`.
    pub(super) fn gather(self, from: &[f32], heads: Range<usize>) -> Vec<f32> {
        let rows = from.len() / self.stride;
        let mut out = vec![0.0; heads.len() * rows * self.width];
        for (head, out) in heads.zip(out.chunks_exact_mut(rows * self.width)) {
            let from = from.chunks_exact(self.stride).map(|row| &row[head * self.width..]);
            for (row, (from, out)) in from.zip(out.chunks_exact_mut(self.width)).enumerate() {
                self.rotate(row, 1.0, &from[..self.width], out);
            }
        }
        out
    }

    /// Writes back what [`HeadView::gather`] would have gathered.
    pub(super) fn scatter(self, from: &[f32], heads: Range<usize>, into: &mut [f32]) {
        let rows = into.len() / self.stride;
        for (head, from) in heads.zip(from.chunks_exact(rows * self.width)) {
            let into = into.chunks_exact_mut(self.stride).map(|row| &mut row[head * self.width..]);
            for (row, (from, into)) in from.chunks_exact(self.width).zip(into).enumerate() {
                self.rotate(row, -1.0, from, &mut into[..self.width]);
            }
        }
    }

    /// Rotates one head of one row by its position, forwards (1) or back (-1), and scales it.
    fn rotate(self, row: usize, sense: f32, from: &[f32], out: &mut [f32]) {
        let Some(angles) = self.angles else {
            out.iter_mut().zip(from).for_each(|(out, from)| *out = from * self.scale);
            return;
        };
        let half = angles.half;
        let at = (self.first + row) * half..(self.first + row + 1) * half;
        let table = angles.cosine[at.clone()].iter().zip(&angles.sine[at]);
        let (first, second) = from.split_at(half);
        let (out_first, out_second) = out.split_at_mut(half);
        let out = out_first.iter_mut().zip(out_second);
        for (((x, y), (cosine, sine)), (u, v)) in first.iter().zip(second).zip(table).zip(out) {
            let sine = sense * sine;
            *u = (x * cosine - y * sine) * self.scale;
            *v = (y * cosine + x * sine) * self.scale;
        }
    }
}

/// Added to the score of a masked position: far below any score, far above overflow.
const MASKED: f32 = -1e9;
