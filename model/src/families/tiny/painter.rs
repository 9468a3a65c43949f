//! The painter: semantic cells to pixels.
//!
//! Cells that mean the same object (their centres agree) pool what they say of it: place, size,
//! shape, colour. A small learned net then knows each shape's outline: it tells, from a pixel's
//! place within the object's box, whether the pixel is inside. Colours are laid on flat, so that
//! edges are crisp.

use burn::module::Module;
use burn::tensor::activation::leaky_relu;
use burn::tensor::{Device, Tensor, TensorData};
use witan_adapter::tensors::WeightError;

use crate::families::tiny::cells::{
    BACKGROUND, CELL_PIXELS, CHANNELS, COLOUR, GRID_CELLS, GRID_SIDE, LENGTH_UNIT, OFFSET, SHAPE,
    SHAPE_CLASSES, SIZE,
};
use crate::families::tiny::config::ModelConfig;
use crate::layers::frozen::Frozen;
use crate::layers::loader::Loader;

/// The outlines of the shapes, learned.
#[derive(Module, Debug)]
pub struct Painter {
    first: Frozen,
    second: Frozen,
    last: Frozen,
}

/// What a cell's pixels are painted from.
#[derive(Clone, Debug, PartialEq)]
pub struct Sketch {
    /// Row-major index of the cell.
    pub cell: usize,
    /// Middle of the object, in pixels from the top left.
    pub centre: [f32; 2],
    /// Width and height of the object in pixels.
    pub size: [f32; 2],
    /// One share per shape class.
    pub shape: [f32; SHAPE_CLASSES],
    /// Colour of the object, in 0..1.
    pub colour: [f32; 3],
    /// Whether an object is near at all: 0 no, 1 yes.
    pub presence: f32,
}

impl Painter {
    /// Loads the tensors below `painter.`.
    pub fn load(loader: &mut Loader, config: &ModelConfig) -> Result<Painter, WeightError> {
        let inner = config.painter_hidden_size;
        Ok(Painter {
            first: loader.linear("painter.outline.0", [PLACE + SHAPE_CLASSES, inner], true)?,
            second: loader.linear("painter.outline.1", [inner, inner], true)?,
            last: loader.linear("painter.outline.2", [inner, SHAPE_CLASSES], true)?,
        })
    }

    /// The logit of every pixel of some cells that it lies inside the object.
    ///
    /// # Shapes
    /// - output: `[sketches, cell pixels]`
    pub fn inside(&self, sketches: &[&Sketch], device: &Device) -> Tensor<2> {
        let area = CELL_PIXELS * CELL_PIXELS;
        let mut places = Vec::with_capacity(sketches.len() * area * (PLACE + SHAPE_CLASSES));
        let mut shares = Vec::with_capacity(sketches.len() * SHAPE_CLASSES);
        for sketch in sketches {
            for pixel in 0..area {
                places.extend(place(sketch, pixel));
                places.extend(sketch.shape);
            }
            // A logit counts pixels from the edge, about: large objects need larger ones.
            let size = sketch.size[0].max(sketch.size[1]);
            shares.extend(sketch.shape.map(|share| share * size));
        }
        let shape = [sketches.len(), area, PLACE + SHAPE_CLASSES];
        let places = Tensor::<3>::from_data(TensorData::new(places, shape), device);
        let shares = TensorData::new(shares, [sketches.len(), 1, SHAPE_CLASSES]);
        let x = leaky_relu(self.first.forward(places), SLOPE);
        let x = self.last.forward(leaky_relu(self.second.forward(x), SLOPE));
        x.mul(Tensor::from_data(shares, device)).sum_dim(2).reshape([sketches.len(), area])
    }
}

/// Reads the sketches of all cells, and the background, off one grid of plain cells.
///
/// `plain` has `64 * channels` values in the cells' own units.
pub fn sketch(plain: &[f32]) -> (Vec<Sketch>, [f32; 3]) {
    let cells: Vec<Voice> = plain.chunks_exact(CHANNELS).enumerate().map(Voice::of).collect();
    let mean =
        |channel: usize| cells.iter().map(|c| c.values[channel]).sum::<f32>() / GRID_CELLS as f32;
    let background = [0, 1, 2].map(|channel| mean(BACKGROUND.start + channel));
    let sketches = (0..GRID_CELLS).map(|cell| pooled(cell, &cells)).collect();
    (sketches, background)
}

/// One cell's own word on the object it shows.
struct Voice {
    /// How much it counts: 0 if it shows none, 1 if it does.
    weight: f32,
    centre: [f32; 2],
    values: Vec<f32>,
}

impl Voice {
    fn of((cell, plain): (usize, &[f32])) -> Voice {
        let occupancy = plain[0];
        let weight = 1.0 / (1.0 + (-OCCUPANCY_SLOPE * (occupancy - 0.5)).exp());
        let mut values = plain.to_vec();
        // What is said of an object was weighted by the occupancy.
        values[SHAPE.start..SIZE.end]
            .iter_mut()
            .for_each(|value| *value /= occupancy.max(OCCUPANCY_MIN));
        let middle =
            [cell % GRID_SIDE, cell / GRID_SIDE].map(|at| (at as f32 + 0.5) * CELL_PIXELS as f32);
        let centre = [0, 1].map(|axis| middle[axis] + values[OFFSET.start + axis] * LENGTH_UNIT);
        Voice { weight, centre, values }
    }
}

/// What all cells that mean the same object as `cell`, or its neighbours, say of it.
fn pooled(cell: usize, cells: &[Voice]) -> Sketch {
    let [row, column] = [cell / GRID_SIDE, cell % GRID_SIDE];
    let near = |other: usize| {
        let [far_row, far_column] = [other / GRID_SIDE, other % GRID_SIDE];
        row.abs_diff(far_row) <= 1 && column.abs_diff(far_column) <= 1
    };
    let called = (0..GRID_CELLS).filter(|other| near(*other)).max_by(|a, b| {
        let call = |other: usize| cells[other].weight + if other == cell { OWN_BONUS } else { 0.0 };
        call(*a).total_cmp(&call(*b))
    });
    let called = &cells[called.unwrap_or(cell)];
    let mut sums = [0.0_f32; CHANNELS];
    let mut centre = [0.0_f32; 2];
    let mut total = 1e-6;
    for voice in cells {
        let square: f32 =
            (0..2).map(|axis| (voice.centre[axis] - called.centre[axis]).powi(2)).sum();
        let weight = voice.weight * (-square / (2.0 * AGREEMENT_PIXELS * AGREEMENT_PIXELS)).exp();
        sums.iter_mut().zip(&voice.values).for_each(|(sum, value)| *sum += weight * value);
        (0..2).for_each(|axis| centre[axis] += weight * voice.centre[axis]);
        total += weight;
    }
    let value = |channel: usize| sums[channel] / total;
    let shape: [f32; SHAPE_CLASSES] =
        std::array::from_fn(|class| value(SHAPE.start + class).max(0.0));
    let shares: f32 = shape.iter().map(|share| share * share).sum::<f32>().max(1e-6);
    Sketch {
        cell,
        centre: centre.map(|sum| sum / total),
        size: [0, 1].map(|axis| (value(SIZE.start + axis) * LENGTH_UNIT).max(SIZE_MIN)),
        shape: shape.map(|share| share * share / shares),
        colour: [0, 1, 2].map(|channel| value(COLOUR.start + channel)),
        presence: called.weight,
    }
}

/// A pixel's place within the object's box, in half boxes from its middle, and what outlines are
/// made of.
fn place(sketch: &Sketch, pixel: usize) -> [f32; PLACE] {
    let row = sketch.cell / GRID_SIDE * CELL_PIXELS + pixel / CELL_PIXELS;
    let column = sketch.cell % GRID_SIDE * CELL_PIXELS + pixel % CELL_PIXELS;
    let [u, v] = [[column, 0], [row, 1]].map(|[at, axis]| {
        let half = sketch.size[axis] / 2.0;
        ((at as f32 + 0.5 - sketch.centre[axis]) / half).clamp(-PLACE_MAX, PLACE_MAX)
    });
    let angle = v.atan2(u);
    let petals = 5.0 * (angle + std::f32::consts::FRAC_PI_2);
    let radius = u.hypot(v);
    [u, v, u.abs(), v.abs(), u.abs().max(v.abs()), u.abs() + v.abs(), radius, radius * petals.cos()]
}

/// The index in a row-major picture of 64 by 64 pixels of pixel `pixel` of cell `cell`.
pub fn pixel_index(cell: usize, pixel: usize) -> usize {
    let row = cell / GRID_SIDE * CELL_PIXELS + pixel / CELL_PIXELS;
    let column = cell % GRID_SIDE * CELL_PIXELS + pixel % CELL_PIXELS;
    row * GRID_SIDE * CELL_PIXELS + column
}

/// Outlines are made of straight lines, hence a piecewise linear activation.
const SLOPE: f64 = 0.1;
/// Values of [`place`].
const PLACE: usize = 8;
/// Beyond this many half boxes from the middle, nothing belongs to the object.
const PLACE_MAX: f32 = 2.0;
/// How sharply a cell's occupancy is read as yes or no.
const OCCUPANCY_SLOPE: f32 = 12.0;
/// Keeps the division by the occupancy away from zero.
const OCCUPANCY_MIN: f32 = 0.3;
/// Centres this close mean the same object; the closest two objects lie about ten pixels apart.
const AGREEMENT_PIXELS: f32 = 3.0;
/// A cell listens to itself before its neighbours.
const OWN_BONUS: f32 = 0.3;
/// No object is smaller, in pixels.
const SIZE_MIN: f32 = 4.0;
