//! A training step of BLIP3o's adapter: the answers' cross-entropy and the drawings' flow matching,
//! added.
//!
//! The losses and the step are the embedded model's; only who is asked, and that an answer may have
//! several tokens, is BLIP3o's own.

use burn::tensor::{Tensor, TensorData};
use burn_optim::GradientsParams;

use super::{Blip3o, Network, Seen};
use crate::families::language::Task;
use crate::families::language::losses::answers_loss;
use crate::families::language::rows::Rows;
use crate::families::lora_model::Losses;
use crate::families::trunk::flow::Noise;
use crate::families::trunk::{Trunk, TrunkConfig};
use crate::optimizer::Optimizer;

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

/// Trains the adapter of a BLIP3o.
pub struct Tuning {
    blip3o: Blip3o,
    optimizer: Optimizer<Network>,
    /// Steps done.
    steps: u64,
}

impl Tuning {
    /// AdamW without decay on the adapter that is in.
    pub fn new(blip3o: Blip3o) -> Tuning {
        Tuning { blip3o, optimizer: Optimizer::new(0.0), steps: 0 }
    }

    /// One step along both losses.
    ///
    /// Panics if there is no question or no caption, or as [`Blip3o::logits`] does.
    pub fn step(&mut self, questions: &[Question<'_>], captions: Captions, rate: f64) -> Losses {
        let Tuning { blip3o, optimizer, steps } = self;
        blip3o.adapted.dropout.decide(*steps);
        *steps += 1;
        let network = &blip3o.adapted.network;
        let mut accumulate = |gradients| optimizer.accumulate(network, gradients);
        let answer = blip3o.backward_answers(questions, &mut accumulate);
        let flow = blip3o.backward_drawings(captions, &mut accumulate);
        let gradients = optimizer.take_mean(network, 1);
        blip3o.adapted.network = optimizer.step(network.clone(), gradients, rate);
        Losses { answer: Some(answer), flow: Some(flow) }
    }

    /// The model as it is now.
    pub fn into_blip3o(self) -> Blip3o {
        self.blip3o
    }
}

/// Where gradients go.
pub(super) type Accumulate<'a> = &'a mut dyn FnMut(GradientsParams);

impl Blip3o {
    /// The mean cross-entropy of the answers' tokens; its gradients go to `accumulate`.
    pub(super) fn backward_answers(
        &self,
        questions: &[Question<'_>],
        accumulate: Accumulate<'_>,
    ) -> f32 {
        let read = |question: &Question<'_>| {
            let said = &question.answer[..question.answer.len() - 1];
            [&question.text[..], said].concat()
        };
        let texts: Vec<Vec<u32>> = questions.iter().map(read).collect();
        let seen = questions.iter().map(|question| question.seen);
        let asked: Vec<(&Seen, &[u32])> = seen.zip(texts.iter().map(|text| &text[..])).collect();
        let answers: Vec<&[u32]> = questions.iter().map(|question| &question.answer[..]).collect();
        let last = answers.iter().map(|answer| answer.len()).max().unwrap_or(1);
        let (rows, extra) = self.rows(&asked);
        let loss = |trunk: &Trunk, _: &TrunkConfig, hidden| {
            answers_loss(&trunk.language, hidden, &answers)
        };
        self.backward_states(Some(extra.autodiff()), (&rows, last), loss, accumulate)
    }

    /// The drawings' flow-matching loss; its gradients go to `accumulate`.
    pub(super) fn backward_drawings(&self, captions: Captions, accumulate: Accumulate<'_>) -> f32 {
        let Captions { texts, targets, noise } = captions;
        let config = &self.config().trunk;
        let texts: Vec<&[u32]> = texts.iter().map(|text| &text[..]).collect();
        let rows = config.caption_rows(&texts);
        let shape = [texts.len(), config.diffusion.places, config.diffusion.channels];
        let queries = self.adapted.network.trunk.latent_queries.val();
        let targets = Tensor::from_data(TensorData::new(targets, shape), &queries.device());
        let loss = |trunk: &Trunk, config: &TrunkConfig, states| {
            trunk.flow_loss(states, targets, noise, config)
        };
        self.backward_states(Some(queries), (&rows, config.queries), loss, accumulate)
    }

    fn backward_states(
        &self,
        extra: Option<Tensor<2>>,
        (rows, last): (&Rows, usize),
        loss: impl FnOnce(&Trunk, &TrunkConfig, Tensor<3>) -> Tensor<1>,
        accumulate: Accumulate<'_>,
    ) -> f32 {
        let (network, config) = (&self.adapted.network, &self.config().trunk);
        let trunk = &network.trunk;
        let task = Task { extra, rows, last, config: &config.language };
        let loss = |states: Tensor<3>| loss(trunk, config, states);
        trunk.language.backward(task, self.activations, loss, |gradients| {
            accumulate(GradientsParams::from_grads(gradients, network));
        })
    }
}
