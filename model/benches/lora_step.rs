//! The LoRA step of the embedded model, on a batch of 48 questions and 16 captions: milliseconds a
//! step.
//!
//! `cargo bench --bench lora_step -- [key=value ...]` prints one JSON line that
//! `scripts/step_ratio.sh` sets beside PyTorch's: the losses of a round, and the milliseconds of
//! one step in every round. With `dump=DIR` it writes the batches and the fresh adapter for the
//! twin instead. Rounds are timed whole, optimiser's start and all, because that is what a member
//! pays; hence no statistics crate.

#[path = "measure/resources.rs"]
mod resources;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Instant;

use witan_adapter::{Adapter, LoraConfig};
use witan_data::scenes::dataset;
use witan_data::vocabulary::Vocabulary;
use witan_model::device::Compute;
use witan_model::families::tiny::Umm;
use witan_model::families::tiny::base::Base;
use witan_model::families::tiny::shard::EncodedShard;
use witan_model::train::{Schedule, TrainPlan, record, train};

use resources::{busy_ms, peak_mb};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let mut plan = TrainPlan {
        local_steps: 20,
        batch_questions: 48,
        batch_captions: 16,
        schedule: Schedule::constant(1e-2),
        ..TrainPlan::default()
    };
    let (mut rounds, mut dump, mut compute) = (3, None::<PathBuf>, Compute::Cpu);
    // Cargo adds `--bench`, which says nothing here.
    for argument in std::env::args().skip(1).filter(|argument| argument != "--bench") {
        let (key, value) = argument.split_once('=').expect("arguments are key=value");
        let number = || value.parse().expect("a number");
        match key {
            "rounds" => rounds = number(),
            "steps" => plan.local_steps = number(),
            "threads" => plan.threads = number(),
            "device" => compute = value.parse().expect("cpu or cuda"),
            "dump" => dump = Some(value.into()),
            _ => panic!("unknown key {key}"),
        }
    }
    let (base, lora) = (Base::embedded(), LoraConfig::default());
    let device = witan_model::device::open(compute).expect("the device is there");
    let mut umm = Umm::new(&base, &lora, &device).expect("the base loads");
    let data = dataset(Vocabulary::Domain, 5, 150);
    let shard = EncodedShard::encode(&umm, &data);
    let start = Adapter::init(&base.adaptable(), &lora, 5);
    match dump {
        Some(folder) => {
            write(&folder, &record(&umm, &shard, &plan).expect("there is data"), &start)
        }
        None => measure(&mut umm, &shard, &plan, &start, rounds),
    }
}

fn write(folder: &Path, batches: &[u8], start: &Adapter) {
    std::fs::create_dir_all(folder).expect("the folder can be made");
    std::fs::write(folder.join("batches.safetensors"), batches).expect("the batches are written");
    std::fs::write(folder.join("adapter.safetensors"), start.to_bytes())
        .expect("the adapter is written");
}

fn measure(umm: &mut Umm, shard: &EncodedShard, plan: &TrainPlan, start: &Adapter, rounds: usize) {
    let (mut times, mut busy, mut losses) = (Vec::new(), Vec::new(), Vec::new());
    let per_step = |milliseconds: f64| milliseconds / plan.local_steps as f64;
    for _ in 0..rounds {
        losses.clear();
        let (began, began_busy) = (Instant::now(), busy_ms());
        train(umm, start, shard, plan, &mut |step| {
            losses.push([step.answer_loss, step.flow_loss].map(Option::unwrap_or_default));
            ControlFlow::Continue(())
        })
        .expect("the shard trains");
        times.push(per_step(began.elapsed().as_secs_f64() * 1000.0));
        busy.push(busy_ms().zip(began_busy).map(|(after, before)| per_step(after - before)));
    }
    let peak = peak_mb();
    let told = serde_json::json!({
        "step_ms": times, "cpu_ms": busy, "losses": losses, "peak_mb": peak
    });
    println!("{told}");
}
