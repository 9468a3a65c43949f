//! Pre-trains the `tiny` base: `pretrain OUT [FROM] [key=value ...]`.
//!
//! A thin shell around `witan_model::pretrain`: it reads the plan, prints progress, and writes checkpoints.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Instant;

use witan_model::checkpoint::read_weights;
use witan_model::pretrain::{Event, PretrainPlan, run};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let mut plan = PretrainPlan::default();
    let mut folders = Vec::new();
    for argument in std::env::args().skip(1) {
        match argument.split_once('=') {
            Some((key, value)) => set(&mut plan, key, value),
            None => folders.push(PathBuf::from(argument)),
        }
    }
    let out = folders.first().expect("usage: pretrain OUT [FROM] [key=value ...]").clone();
    std::fs::create_dir_all(&out).expect("the output folder can be made");
    let start = folders.get(1).map(|folder| {
        let bytes = std::fs::read(folder.join("model.safetensors")).expect("the start can be read");
        read_weights(&bytes).expect("the start holds weights")
    });
    let began = Instant::now();
    let (mut since, mut seen, mut mean) = (Instant::now(), 0, Vec::<f32>::new());
    let folder = out.clone();
    let base = run(&plan, start.as_ref(), &mut move |event| {
        match event {
            Event::Step(step) => {
                seen += step.examples;
                mean.resize(step.losses.len(), step.losses[0].1);
                for (mean, (_, value)) in mean.iter_mut().zip(&step.losses) {
                    *mean += (value - *mean) * 0.05;
                }
                if step.step % 50 == 0 || step.step == step.steps || step.step == 1 {
                    let pace = seen as f64 / since.elapsed().as_secs_f64();
                    let left = (step.steps - step.step) as f64 * step.examples as f64 / pace;
                    let losses: Vec<String> = (step.losses.iter().zip(&mean))
                        .map(|((name, _), mean)| format!("{name} {mean:.4}"))
                        .collect();
                    println!(
                        "{:>6.0}s {} {}/{} {} {pace:.0}/s {left:.0}s left",
                        began.elapsed().as_secs_f64(),
                        step.stage,
                        step.step,
                        step.steps,
                        losses.join(" ")
                    );
                    (since, seen) = (Instant::now(), 0);
                }
            }
            Event::Checkpoint(base) => base.save(&folder).expect("the checkpoint can be written"),
        }
        ControlFlow::Continue(())
    })
    .expect("pre-training ends with a base");
    base.save(&out).expect("the base can be written");
    println!("{:.0}s done, {} parameters", began.elapsed().as_secs_f64(), base.parameter_count());
}

fn set(plan: &mut PretrainPlan, key: &str, value: &str) {
    let mut json = serde_json::to_value(&*plan).expect("a plan is JSON");
    let pointer = format!("/{}", key.replace('.', "/"));
    *json.pointer_mut(&pointer).expect("the key is part of the plan") =
        serde_json::from_str(value).expect("the value is a number");
    *plan = serde_json::from_value(json).expect("the value fits the plan");
}
