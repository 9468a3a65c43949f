//! A training step of BLIP3o's adapter: the answers' cross-entropy and the drawings' flow matching, added.
//!
//! The losses and the step are the embedded model's; only who is asked, and that an answer may have several tokens, is
//! BLIP3o's own.

use burn::optim::GradientsParams;
use burn::tensor::{Tensor, TensorData};

use super::{Blip3o, Network, Seen};
use crate::train::descent::Descent;
use crate::umm::flow::Noise;
use crate::umm::language::{Activations, Task};
use crate::umm::objective::answers_loss;
use crate::umm::rows::Rows;
use crate::umm::trunk::{Trunk, TrunkConfig};

/// A question about a picture, in tokens, and its answer with the token that ends it.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// What was seen of the picture.
    pub seen: &'a Seen,
    /// Until the answer is due.
    pub text: Vec<u32>,
    /// At least one token.
    pub answer: Vec<u32>,
}

/// Captions to draw, and what they should become.
pub struct Captions {
    /// In tokens, until the image queries follow.
    pub texts: Vec<Vec<u32>>,
    /// `[captions, places, channels]`: the tower's features of their pictures.
    pub targets: Vec<f32>,
    /// One target's noise a caption.
    pub noise: Noise,
}

/// Both losses before a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Losses {
    /// Mean cross-entropy of the answers' tokens.
    pub answer: f32,
    /// Flow-matching loss of the drawings.
    pub flow: f32,
}

/// Trains the adapter of a BLIP3o.
pub struct Tuning {
    blip3o: Blip3o,
    descent: Descent<Network>,
    activations: Activations,
    /// Steps done.
    steps: u64,
}

impl Tuning {
    /// AdamW without decay on the adapter that is in.
    pub fn new(blip3o: Blip3o, activations: Activations) -> Tuning {
        Tuning { blip3o, descent: Descent::new(0.0), activations, steps: 0 }
    }

    /// One step along both losses.
    ///
    /// Panics if there is no question or no caption, or as [`Blip3o::logits`] does.
    pub fn step(&mut self, questions: &[Question<'_>], captions: Captions, rate: f64) -> Losses {
        self.blip3o.adapted.dropout.decide(self.steps);
        self.steps += 1;
        let answer = self.pull_answers(questions);
        let flow = self.pull_drawings(captions);
        let network = &mut self.blip3o.adapted.network;
        *network = self.descent.step(network.clone(), rate);
        Losses { answer, flow }
    }

    /// The model as it is now.
    pub fn into_blip3o(self) -> Blip3o {
        self.blip3o
    }

    fn pull_answers(&mut self, questions: &[Question<'_>]) -> f32 {
        let read = |question: &Question<'_>| {
            let said = &question.answer[..question.answer.len() - 1];
            [&question.text[..], said].concat()
        };
        let texts: Vec<Vec<u32>> = questions.iter().map(read).collect();
        let seen = questions.iter().map(|question| question.seen);
        let asked: Vec<(&Seen, &[u32])> = seen.zip(texts.iter().map(|text| &text[..])).collect();
        let answers: Vec<&[u32]> = questions.iter().map(|question| &question.answer[..]).collect();
        let last = answers.iter().map(|answer| answer.len()).max().unwrap_or(1);
        let (rows, extra) = self.blip3o.rows(&asked);
        self.pull(Some(extra.autodiff()), &rows, last, |trunk, _, hidden| {
            answers_loss(&trunk.language, hidden, &answers)
        })
    }

    fn pull_drawings(&mut self, Captions { texts, targets, noise }: Captions) -> f32 {
        let config = &self.blip3o.config().trunk;
        let texts: Vec<&[u32]> = texts.iter().map(|text| &text[..]).collect();
        let rows = Rows::captions(&texts, config);
        let shape = [texts.len(), config.diffusion.places, config.diffusion.channels];
        let queries = self.blip3o.adapted.network.trunk.latent_queries.val();
        let targets = Tensor::from_data(TensorData::new(targets, shape), &queries.device());
        self.pull(Some(queries), &rows, config.queries, |trunk, config, states| {
            trunk.flow_loss(states, targets, noise, config)
        })
    }

    fn pull(
        &mut self,
        extra: Option<Tensor<2>>,
        rows: &Rows,
        last: usize,
        loss: impl FnOnce(&Trunk, &TrunkConfig, Tensor<3>) -> Tensor<1>,
    ) -> f32 {
        let (network, config) = (&self.blip3o.adapted.network, &self.blip3o.config().trunk);
        let trunk = &network.trunk;
        let task = Task { extra, rows, last, config: &config.language };
        let loss = |states: Tensor<3>| loss(trunk, config, states);
        trunk.language.pull(task, self.activations, loss, |gradients| {
            self.descent.gather(network, GradientsParams::from_grads(gradients, network));
        })
    }
}
