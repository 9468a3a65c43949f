//! Stage two: the painter learns to turn the frozen encoder's cells back into pixels.
//!
//! Cells are disturbed on the way, so that it later forgives a generated grid that is slightly off.

use burn::module::Module;
use burn::tensor::{Tensor, TensorData};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

use super::{PretrainError, PretrainPlan, Progress, Stage};
use crate::config::{CELL_PIXELS, GRID_CELLS, ModelConfig};
use crate::data::Picture;
use crate::data::scenes::Scene;
use crate::umm::painter::pixel_index;
use crate::umm::vision::pixels;
use crate::umm::weights::{Weights, floats};
use crate::umm::{inference_device, training_device};

/// Trains the painter; everything else stays.
pub fn train(
    plan: &PretrainPlan,
    config: &ModelConfig,
    weights: Weights,
    progress: Progress<'_>,
) -> Result<Weights, PretrainError> {
    let mut rng = ChaCha8Rng::seed_from_u64(plan.seed ^ SCENES);
    let mut stage = Stage::new("painting", &plan.painting, config, weights, &["painter."])?;
    let vision = stage.network.vision.valid();
    for _ in 0..plan.painting.steps {
        let pictures: Vec<Picture> =
            (0..plan.painting.batch).map(|_| Scene::random(&mut rng).picture()).collect();
        let input = pixels(pictures.iter().map(|picture| &picture.pixels[..]), &inference_device());
        let mut features = floats(vision.features(vision.forward(input, config)));
        for grid in features.chunks_exact_mut(GRID_CELLS * config.gen_channels) {
            let strength = rng.random::<f32>() * DISTURBANCE_MAX;
            for value in grid {
                *value += strength * rng.sample::<f32, _>(StandardNormal);
            }
        }
        let shape = [pictures.len(), GRID_CELLS, config.gen_channels];
        let features = Tensor::from_data(TensorData::new(features, shape), &training_device());
        let painted = stage.network.painter.forward(features).colours;
        let error = painted.sub(cell_pixels(&pictures));
        // Charbonnier: nearly the absolute error, which keeps edges crisp where the square would blur them.
        let loss = error.square().add_scalar(CHARBONNIER).sqrt().mean();
        stage.descend(vec![("pixels", loss)], pictures.len(), progress)?;
    }
    Ok(stage.weights())
}

/// Pictures cut into cells, in 0..1: `[batch, 64, cell pixels, 3]`.
fn cell_pixels(pictures: &[Picture]) -> Tensor<4> {
    let area = CELL_PIXELS * CELL_PIXELS;
    let mut values = Vec::with_capacity(pictures.len() * GRID_CELLS * area * 3);
    for picture in pictures {
        for (cell, pixel) in
            (0..GRID_CELLS).flat_map(|cell| (0..area).map(move |pixel| (cell, pixel)))
        {
            let at = pixel_index(cell, pixel) * 3;
            values.extend(
                picture.pixels[at..at + 3].iter().map(|channel| f32::from(*channel) / 255.0),
            );
        }
    }
    let shape = [pictures.len(), GRID_CELLS, area, 3];
    Tensor::from_data(TensorData::new(values, shape), &training_device())
}

/// Tells this stage's random stream from the others'.
const SCENES: u64 = 0x7061_696e_7465;
/// Largest deviation of the noise on the cells, in their unit variance.
const DISTURBANCE_MAX: f32 = 0.3;
const CHARBONNIER: f64 = 1e-4;
