//! A member's round of training: it starts from the base, lowers the loss, and repeats bit for bit.
//!
//! The base is one of fresh weights: what is proved here does not depend on what it has learnt.

use std::ops::ControlFlow;

use witan_model::config::ModelConfig;
use witan_model::data::scenes::dataset;
use witan_model::data::tokenizer::Tokenizer;
use witan_model::data::vocabulary::Vocabulary;
use witan_model::data::{Dataset, Picture};
use witan_model::pretrain::fresh;
use witan_model::{
    Adapter, AdapterError, Base, Device, EncodedShard, LoraConfig, Step, TrainPlan, Trained, Umm,
    train,
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
fn round(seed: u64) -> (Trained, Vec<Step>) {
    let (base, lora) = (base(), LoraConfig::default());
    let mut umm = Umm::new(&base, &lora, &Device::flex()).unwrap();
    let shard = EncodedShard::encode(&umm, &data());
    let plan = TrainPlan {
        local_steps: 12,
        batch_questions: 8,
        batch_captions: 8,
        seed,
        ..TrainPlan::default()
    };
    let mut steps = Vec::new();
    let start = Adapter::init(&base, &lora, 1);
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
    adapted.set_adapter(&Adapter::init(&base, &LoraConfig::default(), 1)).unwrap();
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
fn a_round_repeats_bit_for_bit_and_another_seed_differs() {
    let bytes = round(4).0.adapter.to_bytes();
    assert!(bytes == round(4).0.adapter.to_bytes(), "two rounds of one seed differ");
    assert!(bytes != round(5).0.adapter.to_bytes(), "the seed decides nothing");
}

#[test]
fn a_round_can_be_stopped() {
    let (base, lora) = (base(), LoraConfig::default());
    let mut umm = Umm::new(&base, &lora, &Device::flex()).unwrap();
    let shard = EncodedShard::encode(&umm, &data());
    let start = Adapter::init(&base, &lora, 1);
    let mut seen = 0;
    let stopped = train(&mut umm, &start, &shard, &TrainPlan::default(), &mut |_| {
        seen += 1;
        ControlFlow::Break(())
    });
    assert!(stopped.unwrap().is_none());
    assert_eq!(seen, 1);
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
    let other = Adapter::init(&base, &LoraConfig { rank: 4, ..LoraConfig::default() }, 1);
    assert!(matches!(umm.set_adapter(&other), Err(AdapterError::Shape { .. })));
    let like = umm.adapter();
    let mut bytes = like.to_bytes();
    bytes.push(0);
    let error = Adapter::from_bytes(&bytes, &like).unwrap_err();
    assert_eq!(error, AdapterError::Length { expected: bytes.len() - 1, found: bytes.len() });
}
