//! The batches of a member's round: which examples come when, with which noise.
//!
//! A plan's seed decides all of it, so that another program can be handed the same batches
//! ([`super::record`]).

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::{TrainError, TrainPlan};
use crate::families::lora_model::{Batch, Syllabus};
use crate::families::trunk::diffusion::Form;
use crate::families::trunk::flow::Noise;

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
