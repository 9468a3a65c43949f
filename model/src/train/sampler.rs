//! The batches of a member's round: which examples come when, with which noise.
//!
//! A plan's seed decides all of it, so that another program can be handed the same batches
//! ([`super::record`]).

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::{TrainError, TrainPlan};
use crate::families::lora_model::{Batch, Examples};
use crate::families::trunk::flow::Noise;
use crate::families::trunk::variant::Variant;

/// Samples batches of a shard's examples in random order, an epoch after the other.
pub(super) struct Batches {
    questions: ShuffledSampler,
    captions: ShuffledSampler,
    batch_questions: usize,
    batch_captions: usize,
    variant: &'static Variant,
    /// Numbers of a target.
    target: usize,
    /// Questions and captions sampled so far, counted each time.
    pub(super) taken: u64,
    rng: ChaCha8Rng,
}

impl Batches {
    pub(super) fn new(examples: Examples, plan: &TrainPlan) -> Result<Batches, TrainError> {
        let Examples { questions, captions, variant, target } = examples;
        let batches = Batches {
            questions: ShuffledSampler::new(questions),
            captions: ShuffledSampler::new((0..captions).collect()),
            batch_questions: plan.batch_questions,
            batch_captions: plan.batch_captions,
            variant,
            target,
            taken: 0,
            rng: ChaCha8Rng::seed_from_u64(plan.seed),
        };
        let gives = |sampler: &ShuffledSampler, count: usize| count > 0 && !sampler.is_empty();
        match gives(&batches.questions, batches.batch_questions)
            || gives(&batches.captions, batches.batch_captions)
        {
            true => Ok(batches),
            false => Err(TrainError::Empty),
        }
    }

    /// The next questions and captions; either is absent if the shard or the plan has none.
    pub(super) fn next(&mut self) -> Batch {
        let questions = self.questions.sample(self.batch_questions, &mut self.rng);
        let captions = self.captions.sample(self.batch_captions, &mut self.rng);
        self.taken += (questions.len() + captions.len()) as u64;
        let sizes = [captions.len(), self.variant.training.noises, self.target];
        let noise = Noise::draw(&mut self.rng, &self.variant.flow, sizes);
        Batch { questions, captions, noise }
    }
}

/// Samples indices without replacement, shuffled anew for every epoch.
pub struct ShuffledSampler {
    indices: Vec<usize>,
    next: usize,
}

impl ShuffledSampler {
    /// A sampler of these indices, at the start of an epoch.
    pub fn new(indices: Vec<usize>) -> ShuffledSampler {
        ShuffledSampler { indices, next: 0 }
    }

    fn is_empty(&self) -> bool {
        self.indices.is_empty()
    }

    /// The next `count` indices, across the end of an epoch; none of an empty sampler.
    pub fn sample(&mut self, count: usize, rng: &mut ChaCha8Rng) -> Vec<usize> {
        if self.is_empty() {
            return Vec::new();
        }
        let mut sampled = Vec::with_capacity(count);
        while sampled.len() < count {
            if self.next == 0 {
                self.indices.shuffle(rng);
            }
            sampled.push(self.indices[self.next]);
            self.next = (self.next + 1) % self.indices.len();
        }
        sampled
    }
}
