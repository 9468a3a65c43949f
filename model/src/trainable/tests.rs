//! Both models by the one face that everybody else sees.

use std::ops::ControlFlow;
use std::path::PathBuf;

use super::*;

fn pinned(family: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity").join(family)
}

fn loaded(folder: Option<&Path>, adapter: Option<&Path>) -> Box<dyn Trainable> {
    let base = open(folder).unwrap();
    let (adapter, lora) = match adapter {
        Some(adapter) => base.import(adapter).unwrap(),
        None => (base.initial_adapter(&base.lora(), 0), base.lora()),
    };
    let mut model = base.load(&lora, &Device::flex()).unwrap();
    model.adopt(&Committed::plain(adapter)).unwrap();
    model
}

#[test]
fn a_checkpoint_is_asked_about_a_picture_and_draws_as_its_adapter_says() {
    let folder = pinned("blip3o");
    let plain = loaded(Some(&folder), None);
    let adapted = loaded(Some(&folder), Some(&folder.join("adapter")));
    plain.answer(&folder.join("picture.png"), "what colour is it?", 3).unwrap();
    let draw = |model: &dyn Trainable, seed| {
        model.draw(&["a red star"], 0..1, seed).unwrap().remove(0).to_bytes()
    };
    let drawn = draw(&*plain, 1);
    assert_eq!(draw(&*plain, 1), drawn);
    assert_ne!(draw(&*plain, 2), drawn);
    assert_ne!(draw(&*adapted, 1), drawn);
}

#[test]
fn a_language_model_and_a_file_that_is_no_picture_are_refused() {
    let refused = open(Some(&pinned("llama"))).unwrap_err();
    assert!(refused.message.contains("a llama neither sees nor draws"), "{refused}");
    let folder = pinned("blip3o");
    for model in [loaded(Some(&folder), None), loaded(None, None)] {
        let refused = model.answer(&folder.join("config.json"), "what is it?", 1).unwrap_err();
        assert!(refused.message.contains("config.json: not a png or jpeg file"), "{refused}");
    }
}

#[test]
fn fedex_is_for_a_base_that_can_be_added_to() {
    open(None).unwrap().check_strategy(&Strategy::FedEx).unwrap();
    let refused = open(Some(&pinned("blip3o"))).unwrap().check_strategy(&Strategy::FedEx);
    assert!(refused.unwrap_err().hint.unwrap().contains("flexlora"));
}

#[test]
fn an_evaluation_that_is_stopped_says_so() {
    let base = open(None).unwrap();
    let model = loaded(None, None);
    let (dataset, prompts) = witan_data::scenes::held_out(1);
    let set = witan_data::evaluation::EvaluationSet { dataset, prompts };
    let data = EvaluationData::read(&*base, &*model, set).unwrap();
    let drawings = Drawings { seed: 1, images: 1, folder: None };
    let stopped = evaluate(&*model, &data, drawings, &mut |_| ControlFlow::Break(()));
    assert_eq!(stopped.unwrap_err(), Fault::stopped());
}
