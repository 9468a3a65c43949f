//! Making a base: runs the model's pre-training, scores what comes out, and records how it was made.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;
use witan_home::{Failure, FailureKind};
use witan_model::data::scenes;
use witan_model::families::tiny::base::Base;
use witan_model::pretrain::{self, Event};
use witan_model::tensors::read_weights;
use witan_model::{LoraConfig, Umm};

use super::device::{self, Compute, Device};
use super::score::{Exam, Marks};
use super::shard::ExamPaper;
pub use witan_model::pretrain::{PretrainPlan, StageStep};

/// What lies beside a base: how to make it again, and what it scored.
#[derive(Clone, Debug, Serialize)]
pub struct Record {
    /// The command that makes these bytes.
    pub command: String,
    /// The record of the base that `--from` names, if it has one.
    pub from: Option<serde_json::Value>,
    /// All that the command fixes, the seed included.
    pub plan: PretrainPlan,
    /// Numbers in the base.
    pub parameters: usize,
    /// What the held-out pictures themselves score once encoder and painter have passed them on: the most that
    /// any drawing can.
    pub drawing_ceiling: Option<f64>,
    /// Before any adapter, on the federation's held-out data.
    pub scores: Marks,
}

/// What to make, and where.
#[derive(Clone, Copy, Debug)]
pub struct Order<'a> {
    /// Sizes and lengths.
    pub plan: &'a PretrainPlan,
    /// The folder to write the base into, anew at every checkpoint.
    pub out: &'a Path,
    /// A folder with a base to go on from.
    pub from: Option<&'a Path>,
    /// Where to compute.
    pub compute: Compute,
    /// The command line, for the record.
    pub command: &'a str,
}

/// Makes a base and writes it with its record. `tell` hears of every step; `stopping` ends the work early.
///
/// # Errors
/// A device that is not there, a folder that cannot be read or written, a start that does not fit, a loss that
/// diverges, an interruption.
pub fn run(
    order: Order<'_>,
    stopping: &AtomicBool,
    mut tell: impl FnMut(&StageStep) + Send,
) -> Result<Record, Failure> {
    let Order { plan, out, from, compute, command } = order;
    let device = device::open(compute)?;
    std::fs::create_dir_all(out)
        .map_err(|error| Failure::environment(format!("cannot make {}: {error}", out.display())))?;
    let start = from.map(start).transpose()?;
    let mut unsaved = None;
    let outcome = pretrain::run(plan, start.as_ref(), &device, &mut |event| {
        match event {
            Event::Step(step) => tell(&step),
            Event::Checkpoint(base) => unsaved = base.save(out).err(),
        }
        match unsaved.is_some() || stopping.load(Ordering::Relaxed) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    });
    if let Some(error) = unsaved {
        return Err(Failure::environment(error));
    }
    let base = outcome.map_err(|error| match error {
        pretrain::PretrainError::Stopped { .. } => Failure::new(FailureKind::Interrupted, error)
            .hint(format!("the last checkpoint, if any, is in {}", out.display())),
        error => Failure::input(error),
    })?;
    base.save(out).map_err(Failure::environment)?;
    let from = from
        .and_then(|folder| serde_json::from_slice(&std::fs::read(folder.join(RECORD)).ok()?).ok());
    let record = Record { from, ..record(&base, plan, &device, command)? };
    let path = out.join(RECORD);
    let text = serde_json::to_string_pretty(&record).expect("a record is plain JSON");
    std::fs::write(&path, text + "\n").map_err(|error| {
        Failure::environment(format!("cannot write {}: {error}", path.display()))
    })?;
    Ok(record)
}

fn start(folder: &Path) -> Result<witan_model::tensors::Weights, Failure> {
    let path = folder.join("model.safetensors");
    let named = |error: &dyn std::fmt::Display| {
        Failure::input(format!("{}: {error}", path.display()))
            .hint("--from takes a folder that `witan pretrain` wrote")
    };
    let bytes = std::fs::read(&path).map_err(|error| named(&error))?;
    read_weights(&bytes).map_err(|error| named(&error))
}

fn record(
    base: &Base,
    plan: &PretrainPlan,
    device: &Device,
    command: &str,
) -> Result<Record, Failure> {
    let umm = Umm::new(base, &LoraConfig::default(), device).map_err(Failure::input)?;
    let held_out = scenes::federation_split(EXAM_SEED, 1, 1);
    let paper = ExamPaper { dataset: held_out.test, prompts: held_out.prompts };
    let exam = Exam::new(&umm, paper);
    Ok(Record {
        command: command.to_owned(),
        from: None,
        plan: plan.clone(),
        parameters: base.parameter_count(),
        drawing_ceiling: exam.rebuilt_ceiling(&umm).all.overall(),
        scores: exam.marks(&umm, EXAM_SEED),
    })
}

const RECORD: &str = "pretrain.json";
/// The seed of a testnet's held-out data by default, so that a record's scores are those of its round 0.
const EXAM_SEED: u64 = 1;
