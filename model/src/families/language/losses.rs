//! The losses of what the language model says; [`crate::families::trunk::flow`] has drawings'.

use burn::tensor::activation::log_softmax;
use burn::tensor::{Int, Tensor, TensorData};

use crate::families::language::Language;

/// The mean cross-entropy of answers of several tokens.
///
/// # Shapes
/// - hidden: `[batch, longest answer, hidden]`, states at the last positions of rows that end
///   before the answer's last token
/// - answers: token ids, at least one each
pub fn answers_loss(language: &Language, hidden: Tensor<3>, answers: &[&[u32]]) -> Tensor<1> {
    let [batch, longest, width] = hidden.dims();
    let ends = answers.iter().enumerate().map(|(row, answer)| {
        let end = (row + 1) * longest;
        end - answer.len()..end
    });
    let places: Vec<i32> = ends.flatten().map(|place| place as i32).collect();
    let places = TensorData::new(places.clone(), [places.len()]);
    let places = Tensor::<1, Int>::from_data(places, &hidden.device());
    let hidden = hidden.reshape([batch * longest, width]).select(0, places);
    language.loss(hidden, &answers.concat())
}

/// The mean cross-entropy of the answers, and that of the words of their questions.
///
/// Pre-training alone uses it. A question speaks of what the picture shows, so every word of it
/// teaches the language model to read pictures; the answer's one token rarely does.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::floats;
    use crate::kernels::cross_entropy;
    use burn::tensor::Device;

    #[test]
    fn the_words_of_a_text_are_counted_once_each_and_padding_never() {
        let logits: Vec<f32> = (0..2 * 3 * 4).map(|at| (at * 7 % 5) as f32).collect();
        let logits = Tensor::<3>::from_data(TensorData::new(logits, [2, 3, 4]), &Device::flex());
        let [answers, questions] = text_losses(logits.clone(), &[&[1, 2, 3], &[3, 1]], &[0, 2]);
        let last = logits.clone().narrow(1, 2, 1).reshape([2, 4]);
        assert_close(floats(answers)[0], floats(cross_entropy(last, &[0, 2]))[0]);
        let all = floats(log_softmax(logits, 2));
        let said = |row: usize, place: usize, word: usize| -all[(row * 3 + place) * 4 + word];
        assert_close(floats(questions)[0], (said(0, 0, 2) + said(0, 1, 3) + said(1, 1, 1)) / 3.0);
    }

    fn assert_close(found: f32, expected: f32) {
        assert!((found - expected).abs() < 1e-5, "{found} for {expected}");
    }
}
