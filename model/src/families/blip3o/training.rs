//! How BLIP3o learns: the answers' cross-entropy and the drawings' flow matching, each with a
//! backward pass of its own.

use burn::tensor::{Tensor, TensorData};
use burn_optim::GradientsParams;

use super::error::ReadError;
use super::shard::{Asked, Captioned, Shard, unfolded};
use super::{Blip3o, Network, Seen};
use crate::families::language::Task;
use crate::families::language::losses::answers_loss;
use crate::families::language::rows::Rows;
use crate::families::lora_model::{Batch, Examples, LoraModel, Losses, Unreadable};
use crate::families::trunk::flow::Noise;
use crate::families::trunk::{Trunk, TrunkConfig};
use crate::layers::adapted::Adapted;
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

impl LoraModel for Blip3o {
    type Network = Network;
    type Shard = Shard;

    fn adapted(&self) -> &Adapted<Network> {
        &self.adapted
    }

    fn adapted_mut(&mut self) -> &mut Adapted<Network> {
        &mut self.adapted
    }

    fn examples(&self, shard: &Shard) -> Examples {
        let drawing = &self.config().trunk.diffusion;
        Examples {
            questions: (0..shard.questions.len()).collect(),
            captions: shard.captions.len(),
            variant: drawing.variant,
            target: drawing.places * drawing.channels,
        }
    }

    fn backward(
        &self,
        shard: &Shard,
        batch: Batch,
        accumulate: &mut dyn FnMut(GradientsParams),
    ) -> Result<Losses, Unreadable> {
        let Batch { questions, captions, noise } = batch;
        let unreadable = |error: ReadError| Unreadable(error.to_string());
        let asked: Vec<&Asked> = questions.iter().map(|at| &shard.questions[*at]).collect();
        let seen: Result<Vec<Seen>, _> =
            asked.iter().map(|asked| shard.see(self, asked.picture)).collect();
        let seen = seen.map_err(unreadable)?;
        let image = self.config().image_token;
        let questions: Vec<Question<'_>> = asked
            .iter()
            .zip(&seen)
            .map(|(asked, seen)| Question {
                seen,
                text: unfolded(&asked.text, image, seen.token_count()),
                answer: asked.answer.clone(),
            })
            .collect();
        let said: Vec<&Captioned> = captions.iter().map(|at| &shard.captions[*at]).collect();
        let targets: Result<Vec<Vec<f32>>, _> =
            said.iter().map(|said| shard.target(said.picture)).collect();
        let captions = Captions {
            texts: said.iter().map(|said| said.text.clone()).collect(),
            targets: targets.map_err(unreadable)?.concat(),
            noise,
        };
        let answer = (!questions.is_empty()).then(|| self.backward_answers(&questions, accumulate));
        let flow = (!said.is_empty()).then(|| self.backward_drawings(captions, accumulate));
        Ok(Losses { answer, flow })
    }
}

/// Where gradients go.
pub(super) type Accumulate<'a> = &'a mut dyn FnMut(GradientsParams);

impl Blip3o {
    /// One training step of the adapter along both losses, on its own batch.
    ///
    /// Panics if there is no question or no caption, or as [`Blip3o::logits`] does.
    pub fn train_step(
        &mut self,
        optimizer: &mut Optimizer<Network>,
        (questions, captions): (&[Question<'_>], Captions),
        rate: f64,
    ) -> Losses {
        self.adapted.dropout.decide(optimizer.steps());
        let network = &self.adapted.network;
        let mut accumulate = |gradients| optimizer.accumulate(network, gradients);
        let answer = self.backward_answers(questions, &mut accumulate);
        let flow = self.backward_drawings(captions, &mut accumulate);
        let gradients = optimizer.take_mean(network, 1);
        self.adapted.network = optimizer.step(network.clone(), gradients, rate);
        Losses { answer: Some(answer), flow: Some(flow) }
    }

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
