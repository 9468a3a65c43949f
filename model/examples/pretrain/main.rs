//! Makes the frozen base that ships in the program, from nothing but a seed: a maker's tool.
//!
//! Three stages: the vision encoder, the painter, then answering and drawing together. The base,
//! its tokenizer and `pretrain.json` (the command, all settings, metrics) go to OUT. Stages run one
//! by one with --from give the same bytes as all of them at once. Ctrl-C leaves the last checkpoint
//! in OUT.

mod stages;

use std::error::Error;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use clap::Parser;
use serde::Serialize;
use witan_adapter::LoraConfig;
use witan_adapter::tensors::read_weights;
use witan_data::evaluation::EvaluationSet;
use witan_data::metrics::Metrics;
use witan_data::scenes;
use witan_model::trainable::{self, BaseModel, Drawings, Embedded, EvaluationData};
use witan_model::{Base, Compute, Device, Umm};

use stages::{Event, PretrainPlan, StageStep};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Make the frozen base that ships in the program.
#[derive(Debug, Parser)]
struct Args {
    /// The folder to write the base into.
    out: PathBuf,
    /// Go on from the base in this folder.
    #[arg(long, value_name = "FOLDER")]
    from: Option<PathBuf>,
    /// Seed of weights, scenes, order and noise.
    #[arg(long, value_name = "NUMBER", default_value_t = PretrainPlan::default().seed)]
    seed: u64,
    /// Threads to compute with; another number may give other bytes.
    #[arg(long, value_name = "COUNT", default_value_t = PretrainPlan::default().threads)]
    threads: usize,
    /// Compute on cpu or cuda; the other gives other bytes.
    #[arg(long, default_value_t)]
    device: Compute,
    /// Steps of the vision encoder's stage; 0 leaves it out.
    #[arg(long, value_name = "COUNT", default_value_t = PretrainPlan::default().vision.steps)]
    vision_steps: usize,
    /// Steps of the painter's stage; 0 leaves it out.
    #[arg(long, value_name = "COUNT", default_value_t = PretrainPlan::default().painting.steps)]
    painting_steps: usize,
    /// Steps of the joint stage; 0 leaves it out.
    #[arg(long, value_name = "COUNT", default_value_t = PretrainPlan::default().joint.steps)]
    joint_steps: usize,
    /// Scenes of the joint stage.
    #[arg(long, value_name = "COUNT", default_value_t = PretrainPlan::default().scenes)]
    scenes: usize,
}

/// What lies beside a base: how to make it again, and its metrics.
#[derive(Clone, Debug, Serialize)]
struct Record {
    /// The command that makes these bytes.
    command: String,
    /// The record of the base that `--from` names, if it has one.
    from: Option<serde_json::Value>,
    /// All that the command fixes, the seed included.
    plan: PretrainPlan,
    /// Numbers in the base.
    parameters: usize,
    /// What the held-out pictures themselves score once encoder and painter have passed them on:
    /// the most that any drawing can.
    drawing_ceiling: Option<f64>,
    /// Before any adapter, on the federation's held-out data.
    scores: Metrics,
}

fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let mut plan =
        PretrainPlan { seed: args.seed, threads: args.threads, ..PretrainPlan::default() };
    plan.vision.steps = args.vision_steps;
    plan.painting.steps = args.painting_steps;
    plan.joint.steps = args.joint_steps;
    plan.scenes = args.scenes;
    let device = witan_model::device::open(args.device)?;
    std::fs::create_dir_all(&args.out)?;
    let from = args.from.as_deref();
    let start = from.map(|folder| std::fs::read(folder.join("model.safetensors"))).transpose()?;
    let start = start.map(|bytes| read_weights(&bytes)).transpose()?;
    let mut unsaved = None;
    let base = stages::run(&plan, start.as_ref(), &device, &mut |event| {
        match event {
            Event::Step(step) => tell(&step),
            Event::Checkpoint(base) => unsaved = base.save(&args.out).err(),
        }
        if unsaved.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    if let Some(error) = unsaved {
        return Err(error.into());
    }
    let base = base?;
    base.save(&args.out)?;
    let record = record(base, &args, plan, &device)?;
    let text = serde_json::to_string_pretty(&record)? + "\n";
    std::fs::write(args.out.join(RECORD), &text)?;
    println!("{text}next: put the folder in place of model/base/tiny and build again");
    Ok(())
}

fn record(
    base: Base,
    args: &Args,
    plan: PretrainPlan,
    device: &Device,
) -> Result<Record, Box<dyn Error>> {
    let parameters = base.parameter_count();
    let (dataset, prompts) = scenes::held_out(EVALUATION_SEED);
    let set = EvaluationSet { dataset, prompts };
    let umm = Umm::new(&base, &LoraConfig::default(), device)?;
    let rebuilt = set.score_pictures(&umm.reconstruct(&set.dataset.pictures));
    let base = Embedded::of(base);
    let model = base.load(&base.lora(), device)?;
    let data = EvaluationData::read(&base, &*model, set)?;
    let drawings = Drawings { seed: EVALUATION_SEED, images: 1, folder: None };
    let metrics =
        trainable::evaluate(&*model, &data, drawings, &mut |_| ControlFlow::Continue(()))?;
    Ok(Record {
        command: args.command(&plan),
        from: args.from.as_deref().and_then(earlier),
        plan,
        parameters,
        drawing_ceiling: rebuilt.all.overall(),
        scores: metrics.metrics(),
    })
}

fn earlier(folder: &Path) -> Option<serde_json::Value> {
    serde_json::from_slice(&std::fs::read(folder.join(RECORD)).ok()?).ok()
}

impl Args {
    /// The command that does the same again; settings at their defaults are left out.
    fn command(&self, plan: &PretrainPlan) -> String {
        let usual = PretrainPlan::default();
        let mut command = "cargo run --release -p witan-model --example pretrain -- OUT".to_owned();
        if self.from.is_some() {
            command += " --from DIR";
        }
        if self.device != Compute::default() {
            command += &format!(" --device {}", self.device);
        }
        let settings = [
            ("seed", plan.seed, usual.seed),
            ("threads", plan.threads as u64, usual.threads as u64),
            ("vision-steps", plan.vision.steps as u64, usual.vision.steps as u64),
            ("painting-steps", plan.painting.steps as u64, usual.painting.steps as u64),
            ("joint-steps", plan.joint.steps as u64, usual.joint.steps as u64),
            ("scenes", plan.scenes as u64, usual.scenes as u64),
        ];
        for (name, value, _) in settings.into_iter().filter(|(_, value, usual)| value != usual) {
            command += &format!(" --{name} {value}");
        }
        command
    }
}

/// A line now and then.
fn tell(step: &StageStep) {
    if step.step.is_multiple_of(PLAIN_EVERY) || step.step == step.steps {
        let losses = step.losses.iter().map(|(name, loss)| format!("{name} {loss:.4}"));
        let losses = losses.collect::<Vec<_>>().join(" ");
        eprintln!("{} {}/{} {losses}", step.stage, step.step, step.steps);
    }
}

const RECORD: &str = "pretrain.json";
/// The seed of a testnet's held-out data by default, so that a record's metrics are those of its
/// round 0.
const EVALUATION_SEED: u64 = 1;
/// Steps between two lines.
const PLAIN_EVERY: usize = 100;
