//! How the embedded model learns: the losses of a batch of an encoded shard, in one backward pass.

use burn::tensor::{Device, Tensor};
use burn_optim::GradientsParams;

use super::shard::EncodedShard;
use super::variant::PLAIN;
use super::{Network, Umm};
use crate::families::language::rows::Rows;
use crate::families::lora_model::{Batch, Examples, LoraModel, Losses, Unreadable};
use crate::families::trunk::flow::Noise;
use crate::host::floats;
use crate::kernels::cross_entropy;
use crate::layers::adapted::Adapted;

/// Questions of one step: whose pictures, what is asked, what is right.
pub(crate) struct Asked {
    pub(crate) pictures: Vec<usize>,
    pub(crate) rows: Rows,
    pub(crate) answers: Vec<u32>,
}

/// Captions of one step: whose pictures, what is said of them, which noise hides them.
pub(crate) struct Captioned {
    pub(crate) pictures: Vec<usize>,
    pub(crate) rows: Rows,
    pub(crate) noise: Noise,
}

impl LoraModel for Umm {
    type Network = Network;
    type Shard = EncodedShard;

    fn adapted(&self) -> &Adapted<Network> {
        &self.adapted
    }

    fn adapted_mut(&mut self) -> &mut Adapted<Network> {
        &mut self.adapted
    }

    fn examples(&self, shard: &EncodedShard) -> Examples {
        let answered = |index: &usize| shard.questions[*index].answer.is_some();
        Examples {
            questions: (0..shard.questions.len()).filter(answered).collect(),
            captions: shard.captions.len(),
            variant: &PLAIN,
            target: shard.targets.row_len(),
        }
    }

    fn backward(
        &self,
        shard: &EncodedShard,
        batch: Batch,
        accumulate: &mut dyn FnMut(GradientsParams),
    ) -> Result<Losses, Unreadable> {
        let (asked, captioned) = dealt(self, shard, batch);
        let device = self.adapted.network.device();
        let answers = asked.map(|asked| asked.loss(self, shard, &device));
        let drawings = captioned.map(|captioned| captioned.loss(self, shard, &device));
        let value = |loss: &Option<Tensor<1>>| loss.clone().map(|loss| floats(loss)[0]);
        let losses = Losses { answer: value(&answers), flow: value(&drawings) };
        if let Some(loss) = [answers, drawings].into_iter().flatten().reduce(Tensor::add) {
            accumulate(GradientsParams::from_grads(loss.backward(), &self.adapted.network));
        }
        Ok(losses)
    }
}

pub(crate) fn dealt(
    umm: &Umm,
    shard: &EncodedShard,
    batch: Batch,
) -> (Option<Asked>, Option<Captioned>) {
    let Batch { questions, captions, noise } = batch;
    let asked = (!questions.is_empty()).then(|| Asked::of(umm, shard, &questions));
    let captioned = (!captions.is_empty()).then(|| Captioned::of(umm, shard, &captions, noise));
    (asked, captioned)
}

impl Asked {
    fn of(umm: &Umm, shard: &EncodedShard, questions: &[usize]) -> Asked {
        let examples: Vec<_> = questions.iter().map(|index| &shard.questions[*index]).collect();
        let tokens: Vec<&[u32]> = examples.iter().map(|example| &example.tokens[..]).collect();
        Asked {
            pictures: examples.iter().map(|example| example.picture).collect(),
            rows: umm.config.question_rows(&tokens),
            answers: examples.iter().filter_map(|example| example.answer).collect(),
        }
    }

    /// The mean cross-entropy of the answers.
    fn loss(&self, umm: &Umm, shard: &EncodedShard, device: &Device) -> Tensor<1> {
        let pictures = shard.tokens.rows(&self.pictures, device).flatten(0, 1);
        let logits =
            umm.adapted.network.trunk.answer_logits(pictures, &self.rows, &umm.config.trunk());
        cross_entropy(logits, &self.answers)
    }
}

impl Captioned {
    fn of(umm: &Umm, shard: &EncodedShard, captions: &[usize], noise: Noise) -> Captioned {
        let examples: Vec<_> = captions.iter().map(|index| &shard.captions[*index]).collect();
        let tokens: Vec<&[u32]> = examples.iter().map(|example| &example.tokens[..]).collect();
        Captioned {
            pictures: examples.iter().map(|example| example.picture).collect(),
            rows: umm.config.trunk().caption_rows(&tokens),
            noise,
        }
    }

    /// The flow-matching loss of the drawings.
    fn loss(self, umm: &Umm, shard: &EncodedShard, device: &Device) -> Tensor<1> {
        let targets = shard.targets.rows(&self.pictures, device);
        let (trunk, config) = (&umm.adapted.network.trunk, umm.config.trunk());
        let states = trunk.query_states(&self.rows, &config);
        trunk.flow_loss(states, targets, self.noise, &config)
    }
}
