//! Every device this build reaches computes what the CPU does: features, answers, drawings, a round
//! of training.
//!
//! The CPU computes in bf16 too, if it is told to: slowly, but it rounds what a GPU rounds, and so
//! is its twin. With the feature `cuda` there is a GPU to compare with, if the machine has one.
//! With `cubecl-cpu` there are the same kernels as the GPU's, compiled for the processor, so that
//! they can be tried where there is none (`docs/GPU.md`).

use std::ops::ControlFlow;

use witan_adapter::{Adapter, LoraConfig};
use witan_data::scenes::dataset;
use witan_data::vocabulary::Vocabulary;
use witan_model::precision::WeightFormat;
use witan_model::{Base, Device, EncodedShard, Step, TrainPlan, Umm, train};

/// The devices beside the one all are compared with.
#[cfg(any(feature = "cuda", feature = "cubecl-cpu"))]
fn devices() -> Vec<Device> {
    let mut devices = Vec::new();
    devices.extend(witan_model::device::open(witan_model::Compute::Cuda));
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
    fn on(device: &Device, kept: WeightFormat) -> Work {
        let (base, lora) = (Base::embedded(), LoraConfig::default());
        let mut umm = Umm::keeping(&base, &lora, kept, device).unwrap();
        let shard = EncodedShard::encode(&umm, &dataset(Vocabulary::Domain, 5, 12));
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
        let start = Adapter::init(&base.adaptable(), &lora, 1);
        let trained = train(&mut umm, &start, &shard, &plan, &mut |step| {
            steps.push(step);
            ControlFlow::Continue(())
        });
        Work { answers, pixels, steps, adapter: trained.unwrap().unwrap().adapter }
    }
}

#[test]
fn the_cpu_computes_in_bf16_nearly_what_it_does_in_f32() {
    let [single, mixed] =
        [WeightFormat::Float32, WeightFormat::Bfloat16].map(|kept| Work::on(&Device::flex(), kept));
    assert!(single.adapter != mixed.adapter, "bf16 rounds");
    mixed.is_near(&single, 0.02);
}

#[cfg(any(feature = "cuda", feature = "cubecl-cpu"))]
#[test]
fn every_device_computes_what_the_cpu_does_in_its_precision() {
    for device in devices() {
        let expected = Work::on(&Device::flex(), WeightFormat::Bfloat16);
        Work::on(&device, WeightFormat::Bfloat16).is_near(&expected, 0.01);
    }
}

impl Work {
    /// Losses are within a share of each other, and pixels within as much of their range.
    #[track_caller]
    fn is_near(&self, expected: &Work, share: f32) {
        let same = expected.answers.iter().zip(&self.answers).filter(|(a, b)| a == b).count();
        println!("{same} of {} answers are the same", expected.answers.len());
        assert!(same * 100 >= expected.answers.len() * 97, "{same} answers are the same");
        let apart = |(a, b): (&u8, &u8)| u64::from(a.abs_diff(*b));
        let apart: u64 = expected.pixels.iter().zip(&self.pixels).map(apart).sum();
        let apart = apart as f32 / (255 * expected.pixels.len()) as f32;
        println!("pixels are {apart} of their range apart");
        assert!(apart <= share, "pixels are {apart} of their range apart");
        for (step, other) in expected.steps.iter().zip(&self.steps) {
            println!("{other:?} for {step:?}");
            close(step.answer_loss, other.answer_loss, share);
            close(step.flow_loss, other.flow_loss, share);
        }
        assert!(self.adapter.check_finite().is_ok());
    }
}

#[track_caller]
fn close(expected: Option<f32>, found: Option<f32>, share: f32) {
    let (Some(expected), Some(found)) = (expected, found) else { panic!("both are trained on") };
    assert!((found - expected).abs() <= share * expected.abs().max(0.1), "{found} for {expected}");
}
