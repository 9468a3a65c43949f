//! Stage two: the painter learns the outlines of the shapes, from the frozen encoder's cells and
//! the pixels.
//!
//! Cells are disturbed on the way, so that it later forgives a generated grid that is slightly off.

use burn::module::Module;
use burn::tensor::activation::log_sigmoid;
use burn::tensor::{Tensor, TensorData};
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;
use witan_adapter::tensors::Weights;
use witan_data::Picture;
use witan_data::scenes::Scene;
use witan_model::families::tiny::cells::CELL_PIXELS;
use witan_model::families::tiny::painter::{Sketch, pixel_index, sketch};
use witan_model::families::tiny::vision::pixels;
use witan_model::host::floats;

use super::{PretrainError, Progress, Setup, Stage};

/// Trains the painter; everything else stays.
pub(crate) fn train(
    setup: &Setup<'_>,
    weights: Weights,
    progress: Progress<'_>,
) -> Result<Weights, PretrainError> {
    let Setup { plan, config, .. } = *setup;
    let mut rng = ChaCha8Rng::seed_from_u64(plan.seed ^ SCENES);
    let mut stage = Stage::new("painting", &plan.painting, setup, weights, &["painter."])?;
    let vision = stage.network.vision.valid();
    let device = stage.network.device();
    for _ in 0..plan.painting.steps {
        let pictures: Vec<Picture> =
            (0..plan.painting.batch).map(|_| Scene::random(&mut rng).picture()).collect();
        let input = pixels(pictures.iter().map(|picture| &picture.pixels[..]), setup.device);
        let plain = floats(vision.read(vision.forward(input, config)).plain());
        let mut lessons = Vec::new();
        for (picture, plain) in
            pictures.iter().zip(plain.chunks_exact(plain.len() / pictures.len()))
        {
            lessons.extend(lessons_of(picture, plain, &mut rng));
        }
        lessons.shuffle(&mut rng);
        lessons.truncate(CELLS_MAX);
        let sketches: Vec<&Sketch> = lessons.iter().map(|(sketch, _)| sketch).collect();
        let logits = stage.network.painter.inside(&sketches, &device);
        let shape = [lessons.len(), CELL_PIXELS * CELL_PIXELS];
        let inside: Vec<f32> =
            lessons.iter().flat_map(|(_, inside)| inside.iter().copied()).collect();
        let inside = Tensor::from_data(TensorData::new(inside, shape), &device);
        let hit = inside.clone().mul(log_sigmoid(logits.clone()));
        let miss = inside.neg().add_scalar(1.0).mul(log_sigmoid(logits.neg()));
        let loss = hit.add(miss).mean().neg();
        stage.descend(vec![("outline", loss)], lessons.len(), progress)?;
    }
    Ok(stage.weights())
}

/// The disturbed sketches of a picture's cells that show something, with the share of the object in
/// each pixel.
fn lessons_of(picture: &Picture, plain: &[f32], rng: &mut ChaCha8Rng) -> Vec<(Sketch, Vec<f32>)> {
    let (sketches, background) = sketch(plain);
    let shown = sketches.into_iter().filter(|sketch| sketch.presence > 0.5);
    let mut lessons = Vec::new();
    for mut sketch in shown {
        let inside = (0..CELL_PIXELS * CELL_PIXELS).map(|pixel| {
            let at = pixel_index(sketch.cell, pixel) * 3;
            let mut along = 0.0;
            let mut whole = 1e-6;
            let colours = sketch.colour.iter().zip(&background);
            for (value, (inner, outer)) in picture.pixels[at..at + 3].iter().zip(colours) {
                let way = inner - outer;
                along += way * (f32::from(*value) / 255.0 - outer);
                whole += way * way;
            }
            (along / whole).clamp(0.0, 1.0)
        });
        let inside = inside.collect();
        let mut noise = |deviation: f32| deviation * rng.sample::<f32, _>(StandardNormal);
        sketch.centre.iter_mut().for_each(|value| *value += noise(PLACE_NOISE));
        sketch.size.iter_mut().for_each(|value| *value += noise(PLACE_NOISE));
        lessons.push((sketch, inside));
    }
    lessons
}

/// Tells this stage's random stream from the others'.
const SCENES: u64 = 0x7061_696e_7465;
/// Cells of a step at most.
const CELLS_MAX: usize = 192;
/// Pixels by which place and size are disturbed.
const PLACE_NOISE: f32 = 0.2;
