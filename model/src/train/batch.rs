//! The batches of a member's round: which examples come when, with which noise.
//!
//! A plan's seed decides all of it, so that another program can be handed the same batches ([`record`]).

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};

use super::pupil::{Batch, Losses, Pupil, Syllabus};
use super::{TrainError, TrainPlan};
use crate::encoded::EncodedShard;
use crate::umm::diffusion::Form;
use crate::umm::flow::Noise;
use crate::umm::objective::answer_loss;
use crate::umm::rows::Rows;
use crate::umm::weights::{HostTensor, Weights, encode, floats};
use crate::umm::{Adapted, Network, Umm};

/// Deals a shard's examples out in random order, beginning anew when all were dealt.
pub(super) struct Batches {
    questions: Deck,
    captions: Deck,
    batch_questions: usize,
    batch_captions: usize,
    /// Form, noises a caption, and numbers of a target.
    noise: (Form, usize, usize),
    /// Questions and captions dealt so far, counted each time.
    pub(super) taken: u64,
    rng: ChaCha8Rng,
}

impl Batches {
    pub(super) fn new(syllabus: Syllabus, plan: &TrainPlan) -> Result<Batches, TrainError> {
        let Syllabus { questions, captions, form, noises, target } = syllabus;
        let batches = Batches {
            questions: Deck { cards: questions, next: 0 },
            captions: Deck { cards: (0..captions).collect(), next: 0 },
            batch_questions: plan.batch_questions,
            batch_captions: plan.batch_captions,
            noise: (form, noises, target),
            taken: 0,
            rng: ChaCha8Rng::seed_from_u64(plan.seed),
        };
        let deals = |deck: &Deck, count: usize| count > 0 && !deck.cards.is_empty();
        match deals(&batches.questions, batches.batch_questions)
            || deals(&batches.captions, batches.batch_captions)
        {
            true => Ok(batches),
            false => Err(TrainError::Empty),
        }
    }

    /// The next questions and captions; either is absent if the shard or the plan has none.
    pub(super) fn next(&mut self) -> Batch {
        let questions = self.questions.deal(self.batch_questions, &mut self.rng);
        let captions = self.captions.deal(self.batch_captions, &mut self.rng);
        self.taken += (questions.len() + captions.len()) as u64;
        let (form, times, size) = self.noise;
        let noise = Noise::draw(&mut self.rng, form, [captions.len(), times, size]);
        Batch { questions, captions, noise }
    }
}

/// Questions of one step: whose pictures, what is asked, what is right.
struct Asked {
    pictures: Vec<usize>,
    rows: Rows,
    answers: Vec<u32>,
}

/// Captions of one step: whose pictures, what is said of them, which noise hides them.
struct Captioned {
    pictures: Vec<usize>,
    rows: Rows,
    noise: Noise,
}

impl Pupil for Umm {
    type Network = Network;
    type Shard = EncodedShard;

    fn adapted(&self) -> &Adapted<Network> {
        &self.adapted
    }

    fn adapted_mut(&mut self) -> &mut Adapted<Network> {
        &mut self.adapted
    }

    fn syllabus(&self, shard: &EncodedShard) -> Syllabus {
        let answered = |index: &usize| shard.questions[*index].answer.is_some();
        Syllabus {
            questions: (0..shard.questions.len()).filter(answered).collect(),
            captions: shard.captions.len(),
            form: Form::Plain,
            noises: NOISES,
            target: shard.targets.row_len(),
        }
    }

    fn pull(
        &self,
        shard: &EncodedShard,
        batch: Batch,
        gather: &mut dyn FnMut(GradientsParams),
    ) -> Result<Losses, TrainError> {
        let (asked, captioned) = dealt(self, shard, batch);
        let device = self.adapted.network.device();
        let answers = asked.map(|asked| asked.loss(self, shard, &device));
        let drawings = captioned.map(|captioned| captioned.loss(self, shard, &device));
        let value = |loss: &Option<Tensor<1>>| loss.clone().map(|loss| floats(loss)[0]);
        let losses = Losses { answer: value(&answers), flow: value(&drawings) };
        if let Some(loss) = [answers, drawings].into_iter().flatten().reduce(Tensor::add) {
            gather(GradientsParams::from_grads(loss.backward(), &self.adapted.network));
        }
        Ok(losses)
    }
}

fn dealt(umm: &Umm, shard: &EncodedShard, batch: Batch) -> (Option<Asked>, Option<Captioned>) {
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
            rows: Rows::questions(&tokens, &umm.config),
            answers: examples.iter().filter_map(|example| example.answer).collect(),
        }
    }

    /// The mean cross-entropy of the answers.
    fn loss(&self, umm: &Umm, shard: &EncodedShard, device: &Device) -> Tensor<1> {
        let pictures = shard.tokens.rows(&self.pictures, device).flatten(0, 1);
        let logits =
            umm.adapted.network.trunk.answer_logits(pictures, &self.rows, &umm.config.trunk());
        answer_loss(logits, &self.answers)
    }
}

impl Captioned {
    fn of(umm: &Umm, shard: &EncodedShard, captions: &[usize], noise: Noise) -> Captioned {
        let examples: Vec<_> = captions.iter().map(|index| &shard.captions[*index]).collect();
        let tokens: Vec<&[u32]> = examples.iter().map(|example| &example.tokens[..]).collect();
        Captioned {
            pictures: examples.iter().map(|example| example.picture).collect(),
            rows: Rows::captions(&tokens, &umm.config.trunk()),
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

/// Indices in random order; shuffled each time around.
pub(crate) struct Deck {
    pub(crate) cards: Vec<usize>,
    pub(crate) next: usize,
}

impl Deck {
    pub(crate) fn deal(&mut self, count: usize, rng: &mut ChaCha8Rng) -> Vec<usize> {
        if self.cards.is_empty() {
            return Vec::new();
        }
        let mut dealt = Vec::with_capacity(count);
        while dealt.len() < count {
            if self.next == 0 {
                self.cards.shuffle(rng);
            }
            dealt.push(self.cards[self.next]);
            self.next = (self.next + 1) % self.cards.len();
        }
        dealt
    }
}

/// All batches of a plan as safetensors, for a twin in another framework to train on.
///
/// Tensors of step `i` are named `i.questions` (slots: words below the vocabulary's size, rows of `i.pictures`
/// above), `i.question_padding`, `i.answers`, `i.captions`, `i.caption_padding`, `i.targets`, `i.levels`,
/// `i.noise` and `i.kept`; whole numbers are kept as f32 too.
///
/// # Errors
/// The shard has nothing to train on.
pub fn record(umm: &Umm, shard: &EncodedShard, plan: &TrainPlan) -> Result<Vec<u8>, TrainError> {
    let mut batches = Batches::new(umm.syllabus(shard), plan)?;
    let mut tensors = Weights::new();
    for step in 0..plan.local_steps {
        let mut insert = |name: &str, shape: Vec<usize>, values: Vec<f32>| {
            tensors.insert(format!("{step}.{name}"), HostTensor { shape, values });
        };
        let (asked, captioned) = dealt(umm, shard, batches.next());
        if let Some(Asked { pictures, rows, answers }) = asked {
            let answers: Vec<f32> = answers.iter().map(|answer| *answer as f32).collect();
            insert("answers", vec![answers.len()], answers);
            let ([slots, padding], shape) = rows.numbers();
            insert("question_padding", vec![shape[0]], padding);
            insert("questions", shape.to_vec(), slots);
            let pictures = shard.tokens.rows(&pictures, &Device::flex());
            insert("pictures", pictures.dims().to_vec(), floats(pictures));
        }
        if let Some(Captioned { pictures, rows, noise }) = captioned {
            let ([slots, padding], shape) = rows.numbers();
            insert("caption_padding", vec![shape[0]], padding);
            insert("captions", shape.to_vec(), slots);
            let targets = shard.targets.rows(&pictures, &Device::flex());
            let [_, patches, patch] = targets.dims();
            insert("noise", vec![noise.levels.len(), patches, patch], noise.values);
            insert("targets", targets.dims().to_vec(), floats(targets));
            insert("levels", vec![noise.levels.len()], noise.levels);
            insert("kept", vec![noise.kept.len()], noise.kept);
        }
    }
    Ok(encode(&tensors))
}

/// Noise levels drawn for each caption of a step.
pub(crate) const NOISES: usize = 2;
