//! Who looks at whom in an attention layer, from where, and the layer's twin of plain operators.
//!
//! Turning follows Llama and Qwen: half-split pairs (RoPE, Su et al., arXiv 2104.09864).

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

/// Who may look at whom, and where everyone stands.
#[derive(Clone, Debug)]
pub struct Sight(pub(super) Option<Arc<Order>>);

/// Rows that are read from left to right.
#[derive(Debug)]
pub(super) struct Order {
    /// Positions at the start of each row that nobody may read.
    padding: Vec<usize>,
    /// The first position that looks; those before it are only looked at.
    first: usize,
    pub(super) angles: Angles,
    twin: OnceLock<Twin>,
}

/// The cosines and sines of rotary positions: `[rows, positions, width / 2]` each, where one row
/// may serve all.
#[derive(Debug)]
pub(super) struct Angles {
    cosine: Vec<f32>,
    sine: Vec<f32>,
    length: usize,
    half: usize,
}

/// What the twin of plain operators needs of an order, on its device.
#[derive(Debug)]
struct Twin {
    /// `[batch or 1, positions, 1, width / 2]` each.
    angles: [Tensor<4>; 2],
    /// Added to the scores: `[batch, 1, positions that look, positions]`.
    mask: Tensor<4>,
}

impl Sight {
    /// Everyone looks at everyone; positions count for nothing.
    pub fn everywhere() -> Sight {
        Sight(None)
    }

    /// Rows that begin with as many positions as `padding` says that nobody may read; the others
    /// are read by themselves and by those after them. Only those in `looking`, to a row's end,
    /// look. Queries and keys of `width` are turned by their position.
    pub fn backward(padding: &[usize], looking: Range<usize>, width: usize, theta: u32) -> Sight {
        let half = width / 2;
        let angle = |[_, position, pair]: [usize; 3]| {
            position as f64 * frequency(f64::from(theta), pair, half)
        };
        Sight::turned(padding, looking.start, Angles::new([1, looking.end, half], angle))
    }

    /// The same where `angle([row, position, pair])` tells how far each pair of channels is turned.
    pub fn backward_by(
        padding: &[usize],
        looking: Range<usize>,
        width: usize,
        angle: impl Fn([usize; 3]) -> f64,
    ) -> Sight {
        let angles = Angles::new([padding.len(), looking.end, width / 2], angle);
        Sight::turned(padding, looking.start, angles)
    }

    fn turned(padding: &[usize], first: usize, angles: Angles) -> Sight {
        let (padding, twin) = (padding.to_vec(), OnceLock::new());
        Sight(Some(Arc::new(Order { padding, first, angles, twin })))
    }
}

/// How far one position turns pair `pair` of `half` pairs.
pub fn frequency(theta: f64, pair: usize, half: usize) -> f64 {
    theta.powf(-(pair as f64) / half as f64)
}

impl Order {
    /// The columns that position `position` of row `row` reads; a position of the padding reads
    /// itself.
    pub(super) fn seen(&self, row: usize, position: usize) -> Range<usize> {
        self.padding[row].min(position)..position + 1
    }

    fn twin(&self, device: &Device) -> &Twin {
        self.twin.get_or_init(|| {
            let Angles { length, half, .. } = self.angles;
            let rows = self.angles.cosine.len() / (length * half);
            let looking = length - self.first;
            let mut mask = vec![HIDDEN; self.padding.len() * looking * length];
            for (at, columns) in mask.chunks_exact_mut(length).enumerate() {
                columns[self.seen(at / looking, self.first + at % looking)].fill(0.0);
            }
            let table = |values: &Vec<f32>| {
                Tensor::from_data(TensorData::new(values.clone(), [rows, length, 1, half]), device)
            };
            let mask = TensorData::new(mask, [self.padding.len(), 1, looking, length]);
            Twin {
                angles: [&self.angles.cosine, &self.angles.sine].map(table),
                mask: Tensor::from_data(mask, device),
            }
        })
    }
}

impl Angles {
    fn new([rows, length, half]: [usize; 3], angle: impl Fn([usize; 3]) -> f64) -> Angles {
        let table = |turn: fn(f64) -> f64| -> Vec<f32> {
            let place = |at: usize| [at / half / length, at / half % length, at % half];
            (0..rows * length * half).map(|at| turn(angle(place(at))) as f32).collect()
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
    Sight(order): &Sight,
    precision: Precision,
) -> Tensor<3> {
    let [batch, rows, _] = query.dims();
    let [_, columns, _] = key.dims();
    let Heads { count, shared, width } = heads;
    let twin = order.as_ref().map(|order| order.twin(&query.device()));
    let turned = |vectors: Tensor<4>| match twin {
        Some(twin) => turn(vectors, &twin.angles),
        None => vectors,
    };
    let query = turned(query.reshape([batch, rows, count, width]));
    let key = turned(key.reshape([batch, columns, shared, width])).swap_dims(1, 2);
    let value = value.reshape([batch, columns, shared, width]).swap_dims(1, 2);
    let group = count / shared;
    let query = query
        .mul_scalar(1.0 / (width as f64).sqrt())
        .reshape([batch, rows, shared, group, width])
        .permute([0, 2, 3, 1, 4])
        .reshape([batch, shared, group * rows, width]);
    let scores = precision.product(query, key.swap_dims(2, 3));
    let scores = match twin {
        Some(Twin { mask, .. }) => {
            let looking = mask.dims()[2];
            scores.add(mask.clone().narrow(2, looking - rows, rows).repeat_dim(2, group))
        }
        None => scores,
    };
    precision
        .product(softmax(scores, 3), value)
        .reshape([batch, shared, group, rows, width])
        .permute([0, 3, 1, 2, 4])
        .reshape([batch, rows, count * width])
}

/// Turns the vectors of the last positions: the first half of each head's channels with the second.
///
/// # Shapes
/// - vectors and output: `[batch, rows, heads, width]`
/// - angles: cosines and sines, `[batch or 1, positions, 1, width / 2]`
pub fn turn(vectors: Tensor<4>, angles: &[Tensor<4>; 2]) -> Tensor<4> {
    let [_, rows, _, width] = vectors.dims();
    let [_, length, _, half] = angles[0].dims();
    let [cosine, sine] =
        angles.each_ref().map(|table| table.clone().narrow(1, length - rows, rows));
    let first = vectors.clone().narrow(3, 0, half);
    let second = vectors.narrow(3, half, width - half);
    let turned_first = first.clone().mul(cosine.clone()).sub(second.clone().mul(sine.clone()));
    let turned_second = second.mul(cosine).add(first.mul(sine));
    Tensor::cat(vec![turned_first, turned_second], 3)
}

/// How the heads of a projection lie side by side in one row of the batch, and how they are turned.
#[derive(Clone, Copy)]
pub(super) struct Strand<'a> {
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

impl Strand<'_> {
    pub(super) fn unturned(self) -> Self {
        Strand { angles: None, scale: 1.0, ..self }
    }

    /// Some heads one below the other, turned: `[heads * rows, width]`.
    pub(super) fn gather(self, from: &[f32], heads: Range<usize>) -> Vec<f32> {
        let rows = from.len() / self.stride;
        let mut out = vec![0.0; heads.len() * rows * self.width];
        for (head, out) in heads.zip(out.chunks_exact_mut(rows * self.width)) {
            let from = from.chunks_exact(self.stride).map(|row| &row[head * self.width..]);
            for (row, (from, out)) in from.zip(out.chunks_exact_mut(self.width)).enumerate() {
                self.turn(row, 1.0, &from[..self.width], out);
            }
        }
        out
    }

    /// Writes back what [`Strand::gather`] would have gathered.
    pub(super) fn scatter(self, from: &[f32], heads: Range<usize>, into: &mut [f32]) {
        let rows = into.len() / self.stride;
        for (head, from) in heads.zip(from.chunks_exact(rows * self.width)) {
            let into = into.chunks_exact_mut(self.stride).map(|row| &mut row[head * self.width..]);
            for (row, (from, into)) in from.chunks_exact(self.width).zip(into).enumerate() {
                self.turn(row, -1.0, from, &mut into[..self.width]);
            }
        }
    }

    /// Turns one head of one row by its position, `sense` telling which way, and scales it.
    fn turn(self, row: usize, sense: f32, from: &[f32], out: &mut [f32]) {
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

/// Added to the score of a position that may not be read: far below any score, far above overflow.
const HIDDEN: f32 = -1e9;
