//! What a loaded model can be asked: answers about pictures, drawings of captions.

use std::ops::Range;

use burn::tensor::{Device, Tensor, TensorData};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

use crate::config::{CELL_PIXELS, GRID_CELLS, ModelConfig, PICTURE_TOKENS};
use crate::data::Picture;
use crate::data::tokenizer::WordError;
use crate::encoded::{EncodedShard, caption_tokens, chunks, picture_features, question_tokens};
use crate::umm::diffusion::to_cells;
use crate::umm::objective::Rows;
use crate::umm::painter::{Sketch, pixel_index, sketch};
use crate::umm::weights::floats;
use crate::umm::{Network, Umm};

impl Umm {
    /// Answers a question about a picture with one word.
    pub fn answer(&self, picture: &Picture, question: &str) -> Result<String, WordError> {
        let tokens = question_tokens(&self.tokenizer, question)?;
        let network = self.frozen();
        let (merged, _) = picture_features(&network, &self.config, std::slice::from_ref(picture));
        let pictures = network.project(merged.rows(&[0], &network.device()));
        Ok(self.words(&network, pictures, &[&tokens]).remove(0))
    }

    /// Answers some questions of an encoded shard, in order.
    ///
    /// Panics if the range leaves the shard's questions.
    pub fn answer_batch(&self, shard: &EncodedShard, range: Range<usize>) -> Vec<String> {
        let network = self.frozen();
        let questions = &shard.questions[range];
        let mut answers = Vec::with_capacity(questions.len());
        for chunk in chunks(questions.len()) {
            let chunk = &questions[chunk];
            let pictures: Vec<usize> = chunk.iter().map(|question| question.picture).collect();
            let tokens: Vec<&[u32]> = chunk.iter().map(|question| &question.tokens[..]).collect();
            let rows = shard.tokens.rows(&pictures, &network.device());
            answers.extend(self.words(&network, rows, &tokens));
        }
        answers
    }

    /// Draws captions; the same captions and seed give the same pictures.
    ///
    /// Caption `i` starts from the noise of stream `i` of the seed, whatever the other captions are.
    pub fn draw(&self, captions: &[&str], seed: u64) -> Result<Vec<Picture>, WordError> {
        let network = self.frozen();
        let mut pictures = Vec::with_capacity(captions.len());
        for chunk in chunks(captions.len()) {
            let first = chunk.start;
            let mut tokens = Vec::new();
            for caption in &captions[chunk] {
                tokens.push(caption_tokens(&self.tokenizer, caption)?);
            }
            let streams = first..first + tokens.len();
            let noise = start_noise(seed, streams, &self.config, &network.device());
            let features = denoise(&network, &self.config, &tokens, noise);
            pictures.extend(paint(&network, features));
        }
        Ok(pictures)
    }

    /// Encodes and decodes pictures without the language model: the best any drawing can look.
    pub fn reconstruct(&self, pictures: &[Picture]) -> Vec<Picture> {
        let network = self.frozen();
        let (_, targets) = picture_features(&network, &self.config, pictures);
        let all: Vec<usize> = (0..pictures.len()).collect();
        paint(&network, to_cells(targets.rows(&all, &network.device())))
    }

    fn words(&self, network: &Network, pictures: Tensor<3>, questions: &[&[u32]]) -> Vec<String> {
        let rows = Rows::questions(questions, &self.config);
        let logits = network.answer_logits(pictures, &rows, &self.config);
        let [_, vocabulary] = logits.dims();
        let word = |row: &[f32]| {
            let best =
                (0..vocabulary as u32).max_by(|a, b| row[*a as usize].total_cmp(&row[*b as usize]));
            best.map(|token| self.tokenizer.decode(&[token])).unwrap_or_default()
        };
        floats(logits).chunks(vocabulary).map(word).collect()
    }
}

/// Sixteen Euler steps from noise to features, guided away from the drawing without a condition.
///
/// # Shapes
/// - noise: `[batch, 16, patch]`
/// - output: `[batch, 64, channels]`
fn denoise(
    network: &Network,
    config: &ModelConfig,
    captions: &[Vec<u32>],
    noise: Tensor<3>,
) -> Tensor<3> {
    let device = network.device();
    let batch = captions.len();
    let texts: Vec<&[u32]> = captions.iter().map(|tokens| &tokens[..]).collect();
    let states = network.query_states(&Rows::captions(&texts, config), config, &device);
    let both = Tensor::cat(vec![states.zeros_like(), states], 0);
    let condition = network.diffusion.condition(both);
    let mut x = noise;
    for step in 0..EULER_STEPS {
        let level = 1.0 - step as f32 / EULER_STEPS as f32;
        let next = 1.0 - (step + 1) as f32 / EULER_STEPS as f32;
        let twice = Tensor::cat(vec![x.clone(), x.clone()], 0);
        let clean = network.diffusion.forward(twice, &vec![level; 2 * batch], &condition, config);
        let without = clean.clone().narrow(0, 0, batch);
        let with = clean.narrow(0, batch, batch);
        let clean = without.clone().add(with.sub(without).mul_scalar(GUIDANCE));
        // Along the straight path x = (1 - level) clean + level noise.
        let kept = next / level;
        x = x.mul_scalar(kept).add(clean.mul_scalar(1.0 - kept));
    }
    to_cells(x)
}

/// Paints features into pictures.
///
/// # Shapes
/// - features: `[batch, 64, channels]`
pub(crate) fn paint(network: &Network, features: Tensor<3>) -> Vec<Picture> {
    let grid = GRID_CELLS * features.dims()[2];
    let plain = floats(network.vision.plain(features));
    plain.chunks_exact(grid).map(|plain| paint_one(network, plain)).collect()
}

fn paint_one(network: &Network, plain: &[f32]) -> Picture {
    let (sketches, background) = sketch(plain);
    let byte = |value: f32| (value.clamp(0.0, 1.0) * 255.0).round() as u8;
    let mut picture = Picture::plain(background.map(byte));
    let shown: Vec<&Sketch> =
        sketches.iter().filter(|sketch| sketch.presence > PRESENCE_MIN).collect();
    if shown.is_empty() {
        return picture;
    }
    let logits = floats(network.painter.inside(&shown, &network.device()));
    for (sketch, logits) in shown.iter().zip(logits.chunks_exact(CELL_AREA)) {
        for (pixel, logit) in logits.iter().enumerate() {
            let share = 1.0 / (1.0 + (-logit).exp());
            let at = pixel_index(sketch.cell, pixel) * 3;
            let colours = sketch.colour.iter().zip(&background);
            for (value, (inner, outer)) in picture.pixels[at..at + 3].iter_mut().zip(colours) {
                *value = byte(share * inner + (1.0 - share) * outer);
            }
        }
    }
    picture
}

fn start_noise(
    seed: u64,
    streams: Range<usize>,
    config: &ModelConfig,
    device: &Device,
) -> Tensor<3> {
    let patch = config.gen_channels * GRID_CELLS / PICTURE_TOKENS;
    let batch = streams.len();
    let mut values: Vec<f32> = Vec::with_capacity(batch * PICTURE_TOKENS * patch);
    for stream in streams {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream as u64);
        values.extend((0..PICTURE_TOKENS * patch).map(|_| rng.sample::<f32, _>(StandardNormal)));
    }
    Tensor::from_data(TensorData::new(values, [batch, PICTURE_TOKENS, patch]), device)
}

/// Cells that show less than this of an object stay background.
const PRESENCE_MIN: f32 = 0.5;
const CELL_AREA: usize = CELL_PIXELS * CELL_PIXELS;
/// Steps from noise to drawing; more than sixteen change little on a grid of 64 cells.
const EULER_STEPS: usize = 16;
/// How far a drawing is pushed towards its caption; BLIP3o draws with 3 too.
const GUIDANCE: f32 = 3.0;
