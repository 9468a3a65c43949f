//! Stage one: the vision encoder learns to read every cell off pixels.
//!
//! Dense labels come from the renderer; through the answer loss alone the encoder does not learn
//! shapes. The stage ends by measuring each channel's mean and deviation, which scale the cells for
//! generation.

use burn::tensor::activation::{log_sigmoid, log_softmax};
use burn::tensor::{Int, Tensor, TensorData};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use witan_adapter::tensors::{HostTensor, Weights};
use witan_data::Picture;
use witan_data::scenes::Scene;
use witan_model::families::tiny::Network;
use witan_model::families::tiny::cells::{
    BACKGROUND, CHANNELS, COLOUR, GRID_CELLS, LENGTH_UNIT, OCCUPANCY, PICTURE_SIDE, SHAPE, SIZE,
};
use witan_model::families::tiny::vision::{CellReading, pixels};
use witan_model::host::floats;
use witan_model::layers::loader::Loader;

use super::{PretrainError, Progress, Setup, Stage};

/// Trains the encoder and its head; everything else stays.
pub(crate) fn train(
    setup: &Setup<'_>,
    weights: Weights,
    progress: Progress<'_>,
) -> Result<Weights, PretrainError> {
    let Setup { plan, config, .. } = *setup;
    let mut rng = ChaCha8Rng::seed_from_u64(plan.seed ^ SCENES);
    let mut stage = Stage::new("vision", &plan.vision, setup, weights, &["visual."])?;
    let device = stage.network.device();
    for _ in 0..plan.vision.steps {
        let scenes: Vec<Scene> = (0..plan.vision.batch).map(|_| Scene::random(&mut rng)).collect();
        let pictures: Vec<Picture> = scenes.iter().map(Scene::picture).collect();
        let input = pixels(pictures.iter().map(|picture| &picture.pixels[..]), &device);
        let reading = stage.network.vision.read(stage.network.vision.forward(input, config));
        let losses = Labels::of(&scenes).losses(&reading);
        stage.descend(losses, scenes.len(), progress)?;
    }
    let mut weights = stage.weights();
    scale(&mut weights, setup, &mut rng)?;
    Ok(weights)
}

/// What the renderer says of every cell of a batch.
struct Labels {
    /// 1 where an object owns the cell, `[batch * cells]`.
    occupied: Vec<f32>,
    /// The owner's shape class, 0 where none.
    shape: Vec<i32>,
    /// Colour, offset and size of the owner, seven values a cell.
    object: Vec<f32>,
    /// The background, three values a cell.
    background: Vec<f32>,
    batch: usize,
}

impl Labels {
    fn of(scenes: &[Scene]) -> Labels {
        let mut labels = Labels {
            occupied: Vec::new(),
            shape: Vec::new(),
            object: Vec::new(),
            background: Vec::new(),
            batch: scenes.len(),
        };
        let length = |share: f32| share * PICTURE_SIDE as f32 / LENGTH_UNIT;
        for scene in scenes {
            let background = scene.background.map(|channel| f32::from(channel) / 255.0);
            for cell in scene.cells().into_iter().flatten() {
                labels.occupied.push(if cell.is_occupied { 1.0 } else { 0.0 });
                labels.shape.push(cell.shape.map_or(0, |shape| shape.index() as i32));
                labels.object.extend(cell.rgb);
                labels.object.extend(cell.offset.map(length));
                labels.object.extend(cell.size.map(length));
                labels.background.extend(background);
            }
        }
        labels
    }

    fn losses(self, reading: &CellReading) -> Vec<(&'static str, Tensor<1>)> {
        let device = reading.raw.device();
        let values = |values: Vec<f32>, width: usize| {
            Tensor::<3>::from_data(
                TensorData::new(values, [self.batch, GRID_CELLS, width]),
                &device,
            )
        };
        let owned = self.occupied.iter().sum::<f32>().max(1.0);
        let occupied = values(self.occupied.clone(), 1);
        let free = occupied.clone().neg().add_scalar(1.0);
        let logit = reading.channels(OCCUPANCY);
        let hit = occupied.clone().mul(log_sigmoid(logit.clone()));
        let miss = free.mul(log_sigmoid(logit.neg()));
        let classes = TensorData::new(self.shape, [self.batch, GRID_CELLS, 1]);
        let classes = Tensor::<3, Int>::from_data(classes, &device);
        let shape = log_softmax(reading.channels(SHAPE), 2).gather(2, classes);
        let object = reading
            .channels(COLOUR.start..SIZE.end)
            .sub(values(self.object, SIZE.end - COLOUR.start));
        let background =
            reading.channels(BACKGROUND).sub(values(self.background, BACKGROUND.len()));
        vec![
            ("occupancy", hit.add(miss).mean().neg()),
            ("shape", shape.mul(occupied.clone()).sum().div_scalar(-owned)),
            (
                "object",
                object.square().mul(occupied).sum().div_scalar(owned).mul_scalar(OBJECT_WEIGHT),
            ),
            ("background", background.square().mean().mul_scalar(BACKGROUND_WEIGHT)),
        ]
    }
}

/// Sets the channels' mean and deviation to those of fresh scenes.
fn scale(
    weights: &mut Weights,
    setup: &Setup<'_>,
    rng: &mut ChaCha8Rng,
) -> Result<(), PretrainError> {
    let mut loader = Loader::from_weights(weights.clone(), setup.device);
    let network = Network::load(&mut loader, setup.config)?;
    let mut sums = [[0.0_f64; 2]; CHANNELS];
    let mut count = 0.0;
    for _ in 0..SCALE_BATCHES {
        let pictures: Vec<Picture> =
            (0..SCALE_BATCH).map(|_| Scene::random(rng).picture()).collect();
        let input = pixels(pictures.iter().map(|picture| &picture.pixels[..]), setup.device);
        let plain = network.vision.read(network.vision.forward(input, setup.config)).plain();
        for cell in floats(plain).chunks_exact(CHANNELS) {
            for (sum, value) in sums.iter_mut().zip(cell) {
                sum[0] += f64::from(*value);
                sum[1] += f64::from(*value).powi(2);
            }
            count += 1.0;
        }
    }
    let mean: Vec<f32> = sums.iter().map(|[sum, _]| (sum / count) as f32).collect();
    let deviation =
        |[sum, squares]: &[f64; 2]| (squares / count - (sum / count).powi(2)).max(0.0).sqrt();
    let deviation: Vec<f32> =
        sums.iter().map(|sums| (deviation(sums) as f32).max(DEVIATION_MIN)).collect();
    weights.insert("visual.cells.mean".into(), HostTensor { shape: vec![CHANNELS], values: mean });
    weights.insert(
        "visual.cells.deviation".into(),
        HostTensor { shape: vec![CHANNELS], values: deviation },
    );
    Ok(())
}

/// Tells this stage's random stream from the others'.
const SCENES: u64 = 0x7669_7369_6f6e;
/// Squared errors of colours and lengths are small beside the cross-entropies.
const OBJECT_WEIGHT: f64 = 3.0;
/// Background tints differ by a tenth at most.
const BACKGROUND_WEIGHT: f64 = 30.0;
const SCALE_BATCHES: usize = 8;
const SCALE_BATCH: usize = 64;
/// Keeps a nearly constant channel (the background's tint) from being blown up to unit variance.
const DEVIATION_MIN: f32 = 0.1;
