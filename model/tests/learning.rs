//! A member's round of training: it starts from the base, lowers the loss, and repeats bit for bit.
//!
//! The base is one of fresh weights: what is proved here does not depend on what it has learnt.

use std::ops::ControlFlow;

use witan_adapter::aggregate::aggregate;
use witan_adapter::delta::Form;
use witan_adapter::{Adapter, AdapterError, Codec, Committed, LoraConfig, Strategy};
use witan_data::scenes::dataset;
use witan_data::tokenizer::Tokenizer;
use witan_data::vocabulary::Vocabulary;
use witan_data::{Dataset, Picture};
use witan_model::families::tiny::base::fresh;
use witan_model::families::tiny::config::ModelConfig;
use witan_model::{
    Base, Device, EncodedShard, Step, TrainError, TrainPlan, Trained, TrainingRun, TrainingState,
    Umm, train,
};

fn base() -> Base {
    let config = ModelConfig::tiny(Tokenizer::new().len());
    let weights = fresh(&config, Default::default(), 3).unwrap();
    Base::new(config, weights).unwrap()
}

fn data() -> Dataset {
    dataset(Vocabulary::Domain, 5, 12)
}

/// Trains a fresh adapter for a few steps and tells every step.
/// The base with a fresh adapter in.
fn beginner() -> (Umm, Adapter) {
    let (base, lora) = (base(), LoraConfig::default());
    let umm = Umm::new(&base, &lora, &Device::flex()).unwrap();
    (umm, Adapter::init(&base.adaptable(), &lora, 1))
}

fn round(seed: u64) -> (Trained, Vec<Step>) {
    let (mut umm, start) = beginner();
    let shard = EncodedShard::encode(&umm, &data());
    let plan = TrainPlan {
        local_steps: 12,
        batch_questions: 8,
        batch_captions: 8,
        seed,
        ..TrainPlan::default()
    };
    let mut steps = Vec::new();
    let trained = train(&mut umm, &start, &shard, &plan, &mut |step| {
        steps.push(step);
        ControlFlow::Continue(())
    });
    (trained.unwrap().unwrap(), steps)
}

#[test]
fn a_fresh_adapter_changes_nothing() {
    let base = base();
    let bare = Umm::new(
        &base,
        &LoraConfig { targets: Vec::new(), ..LoraConfig::default() },
        &Device::flex(),
    )
    .unwrap();
    let mut adapted = Umm::new(&base, &LoraConfig::default(), &Device::flex()).unwrap();
    adapted.set_adapter(&Adapter::init(&base.adaptable(), &LoraConfig::default(), 1)).unwrap();
    let data = data();
    let shards =
        [&bare, &adapted].map(|umm| umm.answer_batch(&EncodedShard::encode(umm, &data), 0..20));
    assert_eq!(shards[0], shards[1]);
    let captions = ["a red circle", "two blue squares"];
    let drawings: [Vec<Picture>; 2] = [&bare, &adapted].map(|umm| umm.draw(&captions, 9).unwrap());
    assert_eq!(drawings[0], drawings[1]);
}

#[test]
fn a_round_lowers_both_losses() {
    let (trained, steps) = round(4);
    assert_eq!((trained.steps, trained.examples), (12, 12 * 16));
    let (first, last) = (steps[0], steps[11]);
    assert!(last.answer_loss.unwrap() < first.answer_loss.unwrap(), "{first:?} {last:?}");
    assert!(last.flow_loss.unwrap() < first.flow_loss.unwrap(), "{first:?} {last:?}");
}

#[test]
fn a_step_tells_what_it_drew_and_not_what_was_planned() {
    let (mut umm, start) = beginner();
    let plan = TrainPlan {
        local_steps: 2,
        batch_questions: 4,
        batch_captions: 3,
        accumulation: 2,
        ..TrainPlan::default()
    };
    let both = data();
    let asked_only = Dataset { captions: Vec::new(), ..both.clone() };
    for (data, expected) in [(both, [14, 14]), (asked_only, [8, 8])] {
        let shard = EncodedShard::encode(&umm, &data);
        let mut found = Vec::new();
        let trained = train(&mut umm, &start, &shard, &plan, &mut |step| {
            found.push(step.examples);
            ControlFlow::Continue(())
        });
        assert_eq!(found, expected);
        assert_eq!(trained.unwrap().unwrap().examples, found.iter().sum::<u64>());
    }
}

#[test]
fn a_round_repeats_bit_for_bit_and_another_seed_differs() {
    let bytes = round(4).0.adapter.to_bytes();
    assert!(bytes == round(4).0.adapter.to_bytes(), "two rounds of one seed differ");
    assert!(bytes != round(5).0.adapter.to_bytes(), "the seed decides nothing");
}

#[test]
fn a_round_can_be_stopped() {
    let (mut umm, start) = beginner();
    let shard = EncodedShard::encode(&umm, &data());
    let mut seen = 0;
    let stopped = train(&mut umm, &start, &shard, &TrainPlan::default(), &mut |_| {
        seen += 1;
        ControlFlow::Break(())
    });
    assert!(stopped.unwrap().is_none());
    assert_eq!(seen, 1);
}

#[test]
fn a_paused_training_goes_on_in_another_model_to_the_same_bits() {
    let (base, lora) = (base(), LoraConfig::default());
    let start = Adapter::init(&base.adaptable(), &lora, 1);
    let plan = TrainPlan {
        local_steps: 12,
        batch_questions: 8,
        batch_captions: 8,
        seed: 4,
        ..TrainPlan::default()
    };
    // The scene's other process: nothing is left of the first but what the pause keeps.
    let fresh = || Umm::new(&base, &lora, &Device::flex()).unwrap();
    let mut umm = fresh();
    let shard = EncodedShard::encode(&umm, &data());
    let mut first = TrainingRun::begin(&mut umm, &start, &shard, &plan).unwrap();
    let stop = |step: Step| match step.step {
        5 => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    first.run(&mut umm, &shard, &mut { stop }).unwrap();
    assert!(first.trained(&umm).is_none());
    let paused = first.state(&umm);
    assert_eq!(paused.done, 5);
    let mut umm = fresh();
    let second = TrainingRun::begin(&mut umm, &start, &shard, &plan).unwrap();
    let mut second = second.resume(&mut umm, paused.clone()).unwrap();
    second.run(&mut umm, &shard, &mut |_| ControlFlow::Continue(())).unwrap();
    let (found, whole) = (second.trained(&umm).unwrap(), round(4).0);
    assert!(found.adapter.to_bytes() == whole.adapter.to_bytes());
    assert_eq!((found.loss, found.examples), (whole.loss, whole.examples));
    let again = || TrainingRun::begin(&mut fresh(), &start, &shard, &plan).unwrap();
    let cut = TrainingState { moments: paused.moments[..100].to_vec(), ..paused.clone() };
    assert!(matches!(again().resume(&mut fresh(), cut), Err(TrainError::Moments)));
    let cache = TrainingState { done: 13, ..paused };
    assert!(matches!(again().resume(&mut fresh(), cache), Err(TrainError::BeyondPlan { .. })));
}

#[test]
fn unknown_words_are_skipped_and_counted() {
    let umm = Umm::new(&base(), &LoraConfig::default(), &Device::flex()).unwrap();
    let mut data = data();
    let known = EncodedShard::encode(&umm, &data);
    assert_eq!(known.skipped_count(), 0);
    data.questions[1].question = "what zyzzyva is this?".into();
    data.questions[2].answer = "zyzzyva".into();
    data.captions[0].caption = "a zyzzyva".into();
    let shard = EncodedShard::encode(&umm, &data);
    assert_eq!(shard.skipped_count(), 2);
    assert_eq!(shard.question_count(), known.question_count());
    assert_eq!(shard.example_count(), known.example_count() - 3);
    assert_eq!(umm.answer_batch(&shard, 0..4).len(), 4);
    data.questions.truncate(2);
    data.questions.remove(0);
    data.captions.truncate(1);
    let nothing = EncodedShard::encode(&umm, &data);
    assert_eq!((nothing.example_count(), nothing.skipped_count()), (0, 2));
    assert_eq!(nothing.unknown().unwrap().word, "zyzzyva");
}

#[test]
fn an_adapter_of_another_rank_and_trailing_bytes_are_refused() {
    let base = base();
    let mut umm = Umm::new(&base, &LoraConfig::default(), &Device::flex()).unwrap();
    let other =
        Adapter::init(&base.adaptable(), &LoraConfig { rank: 4, ..LoraConfig::default() }, 1);
    assert!(matches!(umm.set_adapter(&other), Err(AdapterError::Shape { .. })));
    let like = umm.adapter();
    let mut bytes = like.to_bytes();
    bytes.push(0);
    let error = Adapter::from_bytes(&bytes, &like).unwrap_err();
    assert_eq!(error, AdapterError::Length { expected: bytes.len() - 1, found: bytes.len() });
}

/// Trains four steps with a strategy; what moved, by tensor.
fn moved(strategy: Strategy, round: u64) -> Adapter {
    let (mut umm, start) = beginner();
    let shard = EncodedShard::encode(&umm, &data());
    let plan = TrainPlan {
        local_steps: 4,
        batch_questions: 4,
        batch_captions: 4,
        strategy,
        round,
        ..TrainPlan::default()
    };
    let trained = train(&mut umm, &start, &shard, &plan, &mut |_| ControlFlow::Continue(()));
    trained.unwrap().unwrap().adapter.delta(&start)
}

#[test]
fn a_factor_that_stays_at_home_does_not_move_and_the_other_does() {
    for (strategy, round) in [(Strategy::Ffa, 2), (Strategy::RoLora, 1), (Strategy::RoLora, 2)] {
        // In round 2 of RoLoRA nothing moves from zero factors: the other half has no gradient.
        for (name, tensor) in moved(strategy, round).tensors() {
            if !strategy.trains(round, name) {
                assert!(tensor.values.iter().all(|value| *value == 0.0), "{strategy:?}: {name}");
            } else if strategy == Strategy::Ffa && name.contains("layers.0.self_attn.q_proj") {
                assert!(tensor.values.iter().any(|value| *value != 0.0), "{strategy:?}: {name}");
            }
        }
    }
}

#[test]
fn a_pull_to_the_start_keeps_training_nearer_to_it() {
    let length = |adapter: &Adapter| -> f32 {
        adapter
            .tensors()
            .values()
            .flat_map(|tensor| &tensor.values)
            .map(|value| value * value)
            .sum()
    };
    let [free, held] = [0.0, 100.0].map(|mu| length(&moved(Strategy::FedProx { mu }, 1)));
    assert!(held < 0.7 * free, "{held} of {free}");
    assert_eq!(moved(Strategy::FedProx { mu: 0.0 }, 1), moved(Strategy::FedAvg, 1));
}

#[test]
fn a_member_of_a_lower_rank_trains_the_first_part_of_the_adapter() {
    let (base, whole) = (base(), LoraConfig::default());
    let lora = LoraConfig { rank: 2, alpha: whole.alpha * 2.0 / 8.0, ..whole.clone() };
    assert_eq!(lora.scale(), whole.scale());
    let start = Adapter::init(&base.adaptable(), &whole, 1);
    let mut umm = Umm::new(&base, &lora, &Device::flex()).unwrap();
    let shard = EncodedShard::encode(&umm, &data());
    let plan =
        TrainPlan { local_steps: 2, batch_questions: 4, batch_captions: 4, ..TrainPlan::default() };
    let own = start.cut(2);
    let trained = train(&mut umm, &own, &shard, &plan, &mut |_| ControlFlow::Continue(()));
    let trained = trained.unwrap().unwrap().adapter;
    let (strategy, codec) = (Strategy::FlexLora, Codec::Float32);
    let form = Form { start: &start, strategy, round: 1, codec };
    let arrived = form.decode(&form.encode(&trained.delta(&own), 2)).unwrap();
    let found = start.plus(&arrived).cut(2).delta(&trained);
    let values = found.tensors().values().flat_map(|tensor| &tensor.values);
    assert!(values.copied().all(|value| value.abs() < 1e-6));
    let start = Committed::plain(start);
    aggregate(&strategy, &start, &[(2, &arrived), (2, &start.adapter)]).unwrap();
}
