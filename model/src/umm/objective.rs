//! Batches for the language model, and the two losses it is trained on.
//!
//! Understanding: the cross-entropy of the answer's token. Generation: the flow-matching loss of the grid of
//! cells, in its x0 form. Pre-training and federated training share both.

use burn::tensor::activation::log_softmax;
use burn::tensor::module::embedding;
use burn::tensor::{Device, Int, Tensor, TensorData};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

use super::Network;
use super::language::Reading;
use crate::config::{ModelConfig, PICTURE_TOKENS};
use crate::fused::cross_entropy;

/// Rows of tokens, some of which stand for pictures or image queries, padded on the left to one length.
pub struct Rows {
    indices: Vec<i32>,
    padding: Vec<usize>,
    length: usize,
}

impl Rows {
    /// Rows that read a picture, then a question: `[picture] question`.
    ///
    /// Row `i` reads picture `i` of the batch. `questions` end with the token after which the answer is due.
    pub fn questions(questions: &[&[u32]], config: &ModelConfig) -> Rows {
        Rows::padded(questions, |index, text| {
            let first = config.vocab_size + index * PICTURE_TOKENS;
            (first..first + PICTURE_TOKENS).map(|slot| slot as i32).chain(text).collect()
        })
    }

    /// Rows that end with the image queries: `caption [queries]`.
    pub fn captions(captions: &[&[u32]], config: &ModelConfig) -> Rows {
        Rows::padded(captions, |_, text| {
            let queries = config.vocab_size..config.vocab_size + config.n_query;
            text.chain(queries.map(|slot| slot as i32)).collect()
        })
    }

    fn padded<'a>(
        texts: &'a [&'a [u32]],
        row: impl Fn(usize, Box<dyn Iterator<Item = i32> + 'a>) -> Vec<i32>,
    ) -> Rows {
        let rows: Vec<Vec<i32>> = texts
            .iter()
            .enumerate()
            .map(|(index, text)| row(index, Box::new(text.iter().map(|token| *token as i32))))
            .collect();
        let length = rows.iter().map(Vec::len).max().unwrap_or(0);
        let padding: Vec<usize> = rows.iter().map(|row| length - row.len()).collect();
        let padded = rows.iter().zip(&padding);
        let indices =
            padded.flat_map(|(row, pad)| vec![0; *pad].into_iter().chain(row.iter().copied()));
        Rows { indices: indices.collect(), padding, length }
    }

    /// The slots `[rows, length]` and the padding of every row, as numbers, and that shape.
    pub(crate) fn numbers(&self) -> ([Vec<f32>; 2], [usize; 2]) {
        let slots = self.indices.iter().map(|slot| *slot as f32).collect();
        let padding = self.padding.iter().map(|pad| *pad as f32).collect();
        ([slots, padding], [self.padding.len(), self.length])
    }

    /// Looks every slot up: tokens below the vocabulary's size, `extra` rows above.
    fn embed(&self, network: &Network, extra: Tensor<2>, device: &Device) -> Tensor<3> {
        let table = Tensor::cat(vec![network.language.table(), extra], 0);
        let shape = [self.padding.len(), self.length];
        let indices =
            Tensor::<2, Int>::from_data(TensorData::new(self.indices.clone(), shape), device);
        embedding(table, indices)
    }
}

impl Network {
    /// The logits of the answer's token.
    ///
    /// # Shapes
    /// - pictures: `[batch, 16, hidden]`, from [`Network::project`]
    /// - output: `[batch, vocabulary]`
    pub fn answer_logits(
        &self,
        pictures: Tensor<3>,
        rows: &Rows,
        config: &ModelConfig,
    ) -> Tensor<2> {
        let logits = self.text_logits(pictures, rows, 1, config);
        let [batch, _, words] = logits.dims();
        logits.reshape([batch, words])
    }

    /// The logits that follow each of the last `last` positions of every row.
    ///
    /// # Shapes
    /// - pictures: `[batch, 16, hidden]`, from [`Network::project`]
    /// - output: `[batch, last, vocabulary]`
    pub fn text_logits(
        &self,
        pictures: Tensor<3>,
        rows: &Rows,
        last: usize,
        config: &ModelConfig,
    ) -> Tensor<3> {
        let [batch, tokens, width] = pictures.dims();
        let device = pictures.device();
        let text = config.language();
        let embedded = rows.embed(self, pictures.reshape([batch * tokens, width]), &device);
        let reading = Reading::new(&rows.padding, rows.length, last, &text);
        let hidden = self.language.forward(embedded, &reading, &text);
        let logits = self.language.logits(hidden.reshape([batch * last, width]));
        logits.reshape([batch, last, config.vocab_size])
    }

    /// The hidden states at the image queries, which condition a drawing.
    ///
    /// # Shapes
    /// - output: `[batch, queries, hidden]`
    pub fn query_states(&self, rows: &Rows, config: &ModelConfig, device: &Device) -> Tensor<3> {
        let text = config.language();
        let embedded = rows.embed(self, self.latent_queries.val(), device);
        let reading = Reading::new(&rows.padding, rows.length, config.n_query, &text);
        self.language.forward(embedded, &reading, &text)
    }
}

/// The mean cross-entropy of the answers.
///
/// # Shapes
/// - logits: `[batch, vocabulary]`
/// - answers: `batch` token ids
pub fn answer_loss(logits: Tensor<2>, answers: &[u32]) -> Tensor<1> {
    cross_entropy(logits, answers)
}

/// The mean cross-entropy of the answers, and that of the words of their questions.
///
/// Pre-training alone uses it. A question speaks of what the picture shows, so that every word of it teaches the
/// language model to read pictures, where the answer's one token does so only rarely.
///
/// # Shapes
/// - logits: `[batch, longest question, vocabulary]`, after each of the last positions
/// - questions: token ids, of which the first is not predicted
/// - answers: `batch` token ids
pub fn text_losses(logits: Tensor<3>, questions: &[&[u32]], answers: &[u32]) -> [Tensor<1>; 2] {
    let [batch, longest, _] = logits.dims();
    let asked: usize = questions.iter().map(|question| question.len() - 1).sum();
    let (mut words, mut weights) = (Vec::new(), Vec::new());
    for (text, answer) in questions.iter().zip(answers) {
        let padding = longest - text.len();
        words.extend(std::iter::repeat_n(0, padding));
        words.extend(text[1..].iter().chain([answer]).map(|word| *word as i32));
        weights.extend(std::iter::repeat_n(0.0, padding));
        weights.extend(std::iter::repeat_n(1.0 / asked.max(1) as f32, text.len() - 1));
        weights.push(0.0);
    }
    let device = logits.device();
    let words = Tensor::<3, Int>::from_data(TensorData::new(words, [batch, longest, 1]), &device);
    let weights = Tensor::<3>::from_data(TensorData::new(weights, [batch, longest, 1]), &device);
    let said = log_softmax(logits, 2).gather(2, words).neg();
    [said.clone().narrow(1, longest - 1, 1).mean(), said.mul(weights).sum()]
}

/// The random part of one flow-matching step: a noise level and a noise grid per target, and whose condition
/// is dropped.
pub struct Noise {
    /// Noise levels in 0..1, one a target.
    pub levels: Vec<f32>,
    /// Standard normal values, as many as the targets have.
    pub values: Vec<f32>,
    /// One a row of captions: 0 drops its condition, 1 keeps it.
    pub kept: Vec<f32>,
}

impl Noise {
    /// Draws noise for `captions` rows, `times` targets each, of `size` values a target.
    ///
    /// Levels are u^0.7 for uniform u: more weight where the caption has to decide what is drawn.
    pub fn draw(rng: &mut ChaCha8Rng, captions: usize, times: usize, size: usize) -> Noise {
        let targets = captions * times;
        Noise {
            levels: (0..targets)
                .map(|_| rng.random::<f32>().powf(LEVEL_POWER).clamp(0.001, 1.0))
                .collect(),
            values: (0..targets * size).map(|_| rng.sample(StandardNormal)).collect(),
            kept: (0..captions)
                .map(|_| if rng.random::<f32>() < DROPPED { 0.0 } else { 1.0 })
                .collect(),
        }
    }
}

/// The mean squared error of the predicted clean patches, flow matching in its x0 form.
///
/// # Shapes
/// - states: `[captions, queries, hidden]`
/// - targets: `[captions, 16, patch]`; each caption's target is noised `levels / captions` times
pub fn flow_loss(
    network: &Network,
    states: Tensor<3>,
    targets: Tensor<3>,
    noise: Noise,
    config: &ModelConfig,
) -> Tensor<1> {
    let device = targets.device();
    let [captions, patches, patch] = targets.dims();
    let times = noise.levels.len() / captions;
    let rows = captions * times;
    let kept = Tensor::<3>::from_data(TensorData::new(noise.kept, [captions, 1, 1]), &device);
    let condition = network.diffusion.condition(states.mul(kept)).repeat(times);
    let targets =
        targets.unsqueeze_dim::<4>(1).repeat_dim(1, times).reshape([rows, patches, patch]);
    let level =
        Tensor::<3>::from_data(TensorData::new(noise.levels.clone(), [rows, 1, 1]), &device);
    let values =
        Tensor::<3>::from_data(TensorData::new(noise.values, [rows, patches, patch]), &device);
    let clean = level.clone().neg().add_scalar(1.0);
    let noised = targets.clone().mul(clean).add(values.mul(level));
    let predicted = network.diffusion.forward(noised, &noise.levels, &condition, config);
    predicted.sub(targets).square().mean()
}

/// Share of captions whose condition is dropped, so that guidance has an unconditional model (BLIP3o: 0.1).
const DROPPED: f32 = 0.1;
/// See [`Noise::draw`].
const LEVEL_POWER: f32 = 0.7;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::umm::weights::floats;

    #[test]
    fn the_words_of_a_text_are_counted_once_each_and_padding_never() {
        let logits: Vec<f32> = (0..2 * 3 * 4).map(|at| (at * 7 % 5) as f32).collect();
        let logits = Tensor::<3>::from_data(TensorData::new(logits, [2, 3, 4]), &Device::flex());
        let [answers, questions] = text_losses(logits.clone(), &[&[1, 2, 3], &[3, 1]], &[0, 2]);
        let last = logits.clone().narrow(1, 2, 1).reshape([2, 4]);
        assert_close(floats(answers)[0], floats(answer_loss(last, &[0, 2]))[0]);
        let all = floats(log_softmax(logits, 2));
        let said = |row: usize, place: usize, word: usize| -all[(row * 3 + place) * 4 + word];
        assert_close(floats(questions)[0], (said(0, 0, 2) + said(0, 1, 3) + said(1, 1, 1)) / 3.0);
    }

    fn assert_close(found: f32, expected: f32) {
        assert!((found - expected).abs() < 1e-5, "{found} for {expected}");
    }
}
