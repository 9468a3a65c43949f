//! The LoRA step of a language model in Hugging Face's layout: milliseconds a step.
//!
//! `cargo bench --bench checkpoint_step -- folder=DIR [key=value ...]` prints one JSON line that
//! `scripts/step_ratio_135m.sh` sets beside PyTorch's: the loss of every step, the milliseconds of
//! each but the first, the peak memory of the process. A GPU always keeps and multiplies matrices
//! in bf16; `kept=bf16` has the processor do it too, slowly, for the losses. With `dump=DIR` it
//! writes the fresh adapter for the twin instead.

#[path = "measure/resources.rs"]
mod resources;

use std::path::{Path, PathBuf};
use std::time::Instant;

use witan_adapter::{Adapter, LoraConfig, peft};
use witan_model::Causal;
use witan_model::device::Compute;
use witan_model::families::language::Activations;
use witan_model::inspect::checkpoint::CheckpointInfo;
use witan_model::optimizer::Optimizer;
use witan_model::precision::WeightFormat;

use resources::{busy_ms, peak_mb};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let (mut folder, mut dump) = (None::<PathBuf>, None::<PathBuf>);
    let (mut tokens, mut steps, mut threads, mut compute) = (512, 4, 1, Compute::Cpu);
    let (mut kept, mut activations) = (WeightFormat::Float32, Activations::Kept);
    // Cargo adds `--bench`, which says nothing here.
    for argument in std::env::args().skip(1).filter(|argument| argument != "--bench") {
        let (key, value) = argument.split_once('=').expect("arguments are key=value");
        let number = || value.parse().expect("a number");
        match key {
            "folder" => folder = Some(value.into()),
            "dump" => dump = Some(value.into()),
            "tokens" => tokens = number(),
            "steps" => steps = number(),
            "threads" => threads = number(),
            "activations" => {
                activations = match value {
                    "kept" => Activations::Kept,
                    "recomputed" => Activations::Recomputed,
                    _ => panic!("activations are kept or recomputed"),
                }
            }
            "kept" => {
                kept = match value {
                    "f32" => WeightFormat::Float32,
                    "bf16" => WeightFormat::Bfloat16,
                    _ => panic!("matrices are kept in f32 or bf16"),
                }
            }
            "device" => compute = value.parse().expect("cpu or cuda"),
            _ => panic!("unknown key {key}"),
        }
    }
    // `cargo test --benches` names no folder, and there is nothing to measure.
    let Some(folder) = folder else { return };
    let info = CheckpointInfo::read(&folder).expect("the folder holds a checkpoint");
    let targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];
    let targets = targets.map(str::to_owned).to_vec();
    let lora = LoraConfig { rank: 16, alpha: 32.0, dropout: 0.0, targets };
    match dump {
        Some(dump) => write(&dump, &info, &lora),
        None => {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            let pool = pool.expect("the threads start");
            pool.install(|| measure(&info, &lora, (compute, kept, activations), [tokens, steps]));
        }
    }
}

fn write(dump: &Path, info: &CheckpointInfo, lora: &LoraConfig) {
    let fresh = Adapter::init(&Causal::adaptable(&info.language), lora, 5);
    peft::export(dump, &fresh, lora).expect("the adapter is written");
}

fn measure(
    info: &CheckpointInfo,
    lora: &LoraConfig,
    (compute, kept, activations): (Compute, WeightFormat, Activations),
    [tokens, steps]: [usize; 2],
) {
    let device = witan_model::device::open(compute).expect("the device is there");
    let language = &info.language;
    let causal = Causal::load(&info.files, language, Some(lora), kept, &device);
    let mut causal = causal.expect("the checkpoint loads");
    causal
        .set_adapter(&Adapter::init(&Causal::adaptable(language), lora, 5))
        .expect("it is this model's");
    let mut optimizer = Optimizer::new(0.0);
    let row: Vec<u32> = (0..=tokens).map(|at| (at * 7919 % language.vocab_size) as u32).collect();
    let (mut losses, mut times, mut busy) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..steps {
        let (began, began_busy) = (Instant::now(), busy_ms());
        losses.push(causal.train_step(
            &mut optimizer,
            (std::slice::from_ref(&row), activations),
            1e-3,
        ));
        times.push(began.elapsed().as_secs_f64() * 1000.0);
        busy.push(busy_ms().zip(began_busy).map(|(after, before)| after - before));
    }
    let told = serde_json::json!({
        "step_ms": times[1..], "cpu_ms": busy[1..], "losses": losses, "peak_mb": peak_mb()
    });
    println!("{told}");
}
