//! Inference: answers about pictures, drawings of captions.

use std::ops::Range;

use burn::tensor::{Device, Tensor, TensorData};
use witan_data::Picture;
use witan_data::tokenizer::WordError;

use crate::families::language::causal::likeliest;
use crate::families::tiny::cells::{CELL_PIXELS, GRID_CELLS, PICTURE_TOKENS};
use crate::families::tiny::config::ModelConfig;
use crate::families::tiny::painter::{Sketch, pixel_index, sketch};
use crate::families::tiny::patches::to_cells;
use crate::families::tiny::shard::{
    EncodedShard, caption_tokens, chunks, picture_features, question_tokens,
};
use crate::families::tiny::{Network, Umm};
use crate::families::trunk::flow::start_noise;
use crate::host::floats;

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
    /// Caption `i` starts from the noise of stream `i` of the seed, whatever the other captions
    /// are.
    pub fn draw(&self, captions: &[&str], seed: u64) -> Result<Vec<Picture>, WordError> {
        self.draw_part(captions, 0..captions.len(), seed)
    }

    /// Draws a part of the captions: the same pictures as [`Self::draw`] has at these places.
    ///
    /// Panics if the range leaves the captions.
    pub fn draw_part(
        &self,
        captions: &[&str],
        range: Range<usize>,
        seed: u64,
    ) -> Result<Vec<Picture>, WordError> {
        let network = self.frozen();
        let mut pictures = Vec::with_capacity(range.len());
        for chunk in chunks(range.len()) {
            let streams = range.start + chunk.start..range.start + chunk.end;
            let mut tokens = Vec::new();
            for caption in &captions[streams.clone()] {
                tokens.push(caption_tokens(&self.tokenizer, caption)?);
            }
            let noise = noises(seed, streams, &self.config, &network.device());
            let texts: Vec<&[u32]> = tokens.iter().map(|tokens| &tokens[..]).collect();
            let (trunk, config) = (&network.trunk, self.config.trunk());
            let states = trunk.query_states(&config.caption_rows(&texts), &config);
            let drawn = trunk.denoise(states, noise, &config);
            pictures.extend(paint(&network, to_cells(drawn)));
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
        let rows = self.config.question_rows(questions);
        let config = self.config.trunk();
        let logits = network.trunk.answer_logits(pictures.flatten(0, 1), &rows, &config);
        let [_, vocabulary] = logits.dims();
        let word = |row: &[f32]| self.tokenizer.decode(&[likeliest(row)]);
        floats(logits).chunks(vocabulary).map(word).collect()
    }
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

/// # Shapes
/// - output: `[streams, 16, patch]`
fn noises(seed: u64, streams: Range<usize>, config: &ModelConfig, device: &Device) -> Tensor<3> {
    let patch = config.gen_channels * GRID_CELLS / PICTURE_TOKENS;
    let shape = [streams.len(), PICTURE_TOKENS, patch];
    let values =
        streams.flat_map(|stream| start_noise(seed, stream as u64, PICTURE_TOKENS * patch));
    Tensor::from_data(TensorData::new(values.collect::<Vec<f32>>(), shape), device)
}

/// Cells that show less than this of an object stay background.
const PRESENCE_MIN: f32 = 0.5;
const CELL_AREA: usize = CELL_PIXELS * CELL_PIXELS;
