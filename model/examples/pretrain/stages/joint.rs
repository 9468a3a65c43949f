//! Stage three: the language model learns to answer, and with the diffusion transformer to draw.
//!
//! The encoder is frozen and every picture passes it once. Logits of held-out words are masked, so
//! that their embeddings keep their random start.

use std::ops::ControlFlow;

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use witan_adapter::tensors::Weights;
use witan_data::scenes;
use witan_data::tokenizer::Tokenizer;
use witan_data::vocabulary::Vocabulary;
use witan_model::families::language::losses::text_losses;
use witan_model::families::tiny::base::Base;
use witan_model::families::tiny::config::ModelConfig;
use witan_model::families::tiny::shard::{EncodedShard, picture_features};
use witan_model::families::tiny::variant::PLAIN;
use witan_model::families::trunk::flow::Noise;
use witan_model::train::ShuffledSampler;

use super::{Event, PretrainError, PretrainPlan, Progress, Setup, Stage};

/// Trains everything but the encoder and the painter.
pub(crate) fn train(
    setup: &Setup<'_>,
    weights: Weights,
    progress: Progress<'_>,
) -> Result<Weights, PretrainError> {
    let Setup { plan, config, .. } = *setup;
    let mut stage = Stage::new("joint", &plan.joint, setup, weights, &["model."])?;
    let tokenizer = Tokenizer::new();
    let corpus = corpus(plan, config, &stage, &tokenizer)?;
    let lesson = Lesson { corpus, config, device: stage.network.device(), noises: plan.noises };
    let held_out = lesson.held_out(&tokenizer);
    let mut rng = ChaCha8Rng::seed_from_u64(plan.seed ^ ORDER);
    let mut questions = ShuffledSampler::new((0..lesson.corpus.questions.len()).collect());
    let mut captions = ShuffledSampler::new((0..lesson.corpus.captions.len()).collect());
    for step in 1..=plan.joint.steps {
        let asked = questions.sample(plan.batch_questions, &mut rng);
        let drawn = captions.sample(plan.joint.batch, &mut rng);
        let [answers, questions] = lesson.text(&stage, &asked, held_out.clone());
        let losses = vec![
            ("answers", answers),
            ("questions", questions.mul_scalar(QUESTION_WEIGHT)),
            ("drawings", lesson.drawings(&stage, &drawn, &mut rng).mul_scalar(DRAWING_WEIGHT)),
        ];
        stage.descend(losses, asked.len() + drawn.len(), progress)?;
        if step % plan.checkpoint_steps == 0 {
            let base = Base::new(config.clone(), stage.weights())?;
            if let ControlFlow::Break(()) = progress(Event::Checkpoint(Box::new(base))) {
                return Err(PretrainError::Stopped { stage: "joint", step });
            }
        }
    }
    Ok(stage.weights())
}

/// What the stage teaches from.
struct Lesson<'a> {
    corpus: EncodedShard,
    config: &'a ModelConfig,
    device: Device,
    noises: usize,
}

impl Lesson<'_> {
    fn text(&self, stage: &Stage, asked: &[usize], held_out: Tensor<2>) -> [Tensor<1>; 2] {
        let examples: Vec<_> = asked.iter().map(|index| &self.corpus.questions[*index]).collect();
        let pictures: Vec<usize> = examples.iter().map(|example| example.picture).collect();
        let tokens: Vec<&[u32]> = examples.iter().map(|example| &example.tokens[..]).collect();
        let answers: Vec<u32> = examples.iter().filter_map(|example| example.answer).collect();
        let rows = self.config.question_rows(&tokens);
        let pictures = stage.network.project(self.corpus.tokens.rows(&pictures, &self.device));
        let longest = tokens.iter().map(|text| text.len()).max().unwrap_or(1);
        let (trunk, config) = (&stage.network.trunk, self.config.trunk());
        let logits = trunk.text_logits(pictures.flatten(0, 1), &rows, longest, &config);
        text_losses(logits.add(held_out.unsqueeze()), &tokens, &answers)
    }

    fn drawings(&self, stage: &Stage, drawn: &[usize], rng: &mut ChaCha8Rng) -> Tensor<1> {
        let examples: Vec<_> = drawn.iter().map(|index| &self.corpus.captions[*index]).collect();
        let pictures: Vec<usize> = examples.iter().map(|example| example.picture).collect();
        let tokens: Vec<&[u32]> = examples.iter().map(|example| &example.tokens[..]).collect();
        let targets = self.corpus.targets.rows(&pictures, &self.device);
        let [_, patches, patch] = targets.dims();
        let sizes = [drawn.len(), self.noises, patches * patch];
        let noise = Noise::draw(rng, &PLAIN.flow, sizes);
        let (trunk, config) = (&stage.network.trunk, self.config.trunk());
        let states = trunk.query_states(&config.caption_rows(&tokens), &config);
        trunk.flow_loss(states, targets, noise, &config)
    }

    /// Added to the logits: minus infinity, nearly, for words the base must not learn.
    fn held_out(&self, tokenizer: &Tokenizer) -> Tensor<2> {
        let bar = |id: u32| if tokenizer.is_new(id) { -1e9_f32 } else { 0.0 };
        let values: Vec<f32> = (0..self.config.vocab_size as u32).map(bar).collect();
        Tensor::from_data(TensorData::new(values, [1, self.config.vocab_size]), &self.device)
    }
}

/// Renders and encodes the scenes, part by part so that few pictures are in memory at once.
fn corpus(
    plan: &PretrainPlan,
    config: &ModelConfig,
    stage: &Stage,
    tokenizer: &Tokenizer,
) -> Result<EncodedShard, PretrainError> {
    let network = stage.network.valid();
    let mut corpus: Option<EncodedShard> = None;
    for part in 0..plan.scenes.div_ceil(PART_SCENES) {
        let scenes = PART_SCENES.min(plan.scenes - part * PART_SCENES);
        let data = scenes::dataset(Vocabulary::Base, (plan.seed << 16) + part as u64, scenes);
        let (tokens, targets) = picture_features(&network, config, &data.pictures);
        let shard = EncodedShard::with_features(tokenizer, &data, tokens, targets);
        if let Some(word) = shard.unknown() {
            return Err(word.clone().into());
        }
        match &mut corpus {
            Some(corpus) => corpus.append(shard),
            None => corpus = Some(shard),
        }
    }
    Ok(corpus.unwrap_or_default())
}

/// Tells this stage's random stream from the others'.
const ORDER: u64 = 0x006a_6f69_6e74;
/// The flow-matching loss is an order smaller than the cross-entropy, and drawing is the harder
/// half.
const DRAWING_WEIGHT: f64 = 4.0;
/// What the words of the questions count for beside the answers.
const QUESTION_WEIGHT: f64 = 0.5;
const PART_SCENES: usize = 1000;
