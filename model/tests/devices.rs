//! Every device this build reaches computes what the CPU does: features, answers, drawings, a round of training.
//!
//! With the feature `cuda` that is a GPU, if there is one. With `cubecl-cpu` it is the same kernels as the GPU's,
//! compiled for the processor, so that they can be tried where there is none (`docs/GPU.md`).
#![cfg(any(feature = "cuda", feature = "cubecl-cpu"))]

use std::ops::ControlFlow;

use witan_model::data::scenes::dataset;
use witan_model::data::vocabulary::Vocabulary;
use witan_model::{
    Adapter, Base, Compute, Device, EncodedShard, LoraConfig, Step, TrainPlan, Umm, train,
};

/// The devices beside the one all are compared with.
fn devices() -> Vec<Device> {
    let mut devices = Vec::new();
    devices.extend(Compute::Cuda.open());
    #[cfg(feature = "cubecl-cpu")]
    devices.push(Device::cpu());
    devices
}

/// What one device makes of a dozen scenes.
struct Work {
    answers: Vec<String>,
    pixels: Vec<u8>,
    steps: Vec<Step>,
    adapter: Adapter,
}

impl Work {
    fn on(device: &Device) -> Work {
        let (base, lora) = (Base::embedded(), LoraConfig::default());
        let mut umm = Umm::new(&base, &lora, device).unwrap();
        let shard = EncodedShard::encode(&umm, &dataset(Vocabulary::Domain, 5, 12)).unwrap();
        let answers = umm.answer_batch(&shard, 0..shard.question_count());
        let pictures = umm.draw(&["a red circle", "two blue squares"], 9).unwrap();
        let pixels = pictures.into_iter().flat_map(|picture| picture.pixels).collect();
        let plan = TrainPlan {
            local_steps: 4,
            batch_questions: 8,
            batch_captions: 8,
            ..TrainPlan::default()
        };
        let mut steps = Vec::new();
        let start = Adapter::init(&base, &lora, 1);
        let trained = train(&mut umm, &start, &shard, &plan, &mut |step| {
            steps.push(step);
            ControlFlow::Continue(())
        });
        Work { answers, pixels, steps, adapter: trained.unwrap().unwrap().adapter }
    }
}

#[test]
fn every_device_computes_what_the_cpu_does() {
    let expected = Work::on(&Device::flex());
    for device in devices() {
        let found = Work::on(&device);
        let same = expected.answers.iter().zip(&found.answers).filter(|(a, b)| a == b).count();
        println!("{device:?}: {same} of {} answers are the same", expected.answers.len());
        assert!(
            same * 100 >= expected.answers.len() * 99,
            "{device:?}: {same} answers are the same"
        );
        let apart = |(a, b): (&u8, &u8)| u64::from(a.abs_diff(*b));
        let apart: u64 = expected.pixels.iter().zip(&found.pixels).map(apart).sum();
        println!("{device:?}: pixels are {apart} of {} apart", 255 * expected.pixels.len());
        assert!(apart <= expected.pixels.len() as u64 / 4, "{device:?}: {apart}");
        for (step, other) in expected.steps.iter().zip(&found.steps) {
            println!("{device:?}: {step:?} against {other:?}");
            close(step.answer_loss, other.answer_loss);
            close(step.flow_loss, other.flow_loss);
        }
        assert!(found.adapter.check_finite().is_ok());
    }
}

#[track_caller]
fn close(expected: Option<f32>, found: Option<f32>) {
    let (Some(expected), Some(found)) = (expected, found) else { panic!("both are trained on") };
    assert!((found - expected).abs() <= 1e-3 * expected.abs().max(0.1), "{found} for {expected}");
}
