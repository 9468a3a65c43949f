//! `witan pretrain`.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::{ProgressBar, ProgressStyle};
use witan_home::Failure;
use witan_node::jobs::device::Compute;
use witan_node::jobs::pretrain::{self, Order, PretrainPlan, Record, StageStep};

use super::{block_on, output, stop_requested};

/// Make the frozen base that ships in the program, from nothing but a seed.
///
/// Three stages: the vision encoder, the painter, then answering and drawing together. The base,
/// its tokenizer and `pretrain.json` (this command, all settings, scores) go to OUT. Stages run one
/// by one with --from give the same bytes as all of them at once.
#[derive(Debug, clap::Args)]
pub struct Args {
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

/// Makes the base.
pub fn run(args: Args) -> Result<(), Failure> {
    let plan = args.plan()?;
    let stopping = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stopping);
    let record = block_on(async {
        let mut work = tokio::task::spawn_blocking(move || {
            let mut progress = Progress::default();
            let order = Order {
                plan: &plan,
                out: &args.out,
                from: args.from.as_deref(),
                compute: args.device,
                command: &args.command(&plan),
            };
            pretrain::run(order, &flag, |step| progress.tell(step))
        });
        tokio::select! {
            outcome = &mut work => return outcome.map_err(Failure::environment)?,
            () = stop_requested(false) => stopping.store(true, Ordering::Relaxed),
        }
        work.await.map_err(Failure::environment)?
    })?;
    output::print(|out| for_people(out, &record))
}

fn for_people(out: &mut dyn Write, record: &Record) -> io::Result<()> {
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    writeln!(out, "{} parameters: {}", record.parameters, record.command)?;
    if let Some(answers) = record.scores.vqa_accuracy {
        writeln!(out, "answers {}", percent(answers))?;
    }
    if let (Some(drawings), Some(ceiling)) =
        (record.scores.drawing_accuracy, record.drawing_ceiling)
    {
        writeln!(out, "drawings {} of at most {}", percent(drawings), percent(ceiling))?;
    }
    writeln!(out, "next: put the folder in place of model/base/tiny and build again")
}

impl Args {
    fn plan(&self) -> Result<PretrainPlan, Failure> {
        if self.threads == 0 || self.threads > 256 {
            return Err(Failure::usage(format!("--threads {}: expected 1 to 256", self.threads)));
        }
        if self.joint_steps > 0 && self.scenes == 0 {
            return Err(Failure::usage("--scenes 0: the joint stage needs scenes"));
        }
        let mut plan =
            PretrainPlan { seed: self.seed, threads: self.threads, ..PretrainPlan::default() };
        plan.vision.steps = self.vision_steps;
        plan.painting.steps = self.painting_steps;
        plan.joint.steps = self.joint_steps;
        plan.scenes = self.scenes;
        Ok(plan)
    }

    /// The command that does the same again; settings at their defaults are left out.
    fn command(&self, plan: &PretrainPlan) -> String {
        let usual = PretrainPlan::default();
        let mut command = "witan pretrain OUT".to_owned();
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

/// One bar a stage; a plain line now and then where there is no terminal.
#[derive(Default)]
struct Progress {
    bar: Option<(&'static str, ProgressBar)>,
    losses: Vec<f32>,
}

impl Progress {
    fn tell(&mut self, step: &StageStep) {
        let bar = match &self.bar {
            Some((stage, bar)) if *stage == step.stage => bar.clone(),
            _ => self.begin(step),
        };
        for (smooth, (_, loss)) in self.losses.iter_mut().zip(&step.losses) {
            *smooth += (loss - *smooth) * SMOOTHING;
        }
        let losses = step.losses.iter().zip(&self.losses);
        let losses: Vec<String> =
            losses.map(|((name, _), loss)| format!("{name} {loss:.4}")).collect();
        bar.set_position(step.step as u64);
        bar.set_message(losses.join(" "));
        let is_told = step.step.is_multiple_of(PLAIN_EVERY) || step.step == step.steps;
        if bar.is_hidden() && is_told {
            let line = format!("{} {}/{} {}", step.stage, step.step, step.steps, losses.join(" "));
            // Whoever read this may go away; the work goes on.
            let _ = writeln!(io::stderr(), "{line}");
        }
        if step.step == step.steps {
            bar.finish();
        }
    }

    fn begin(&mut self, step: &StageStep) -> ProgressBar {
        let style =
            ProgressStyle::with_template("{prefix:8} {bar:30} {pos}/{len} {eta} left {msg}")
                .expect("the template is well formed");
        let bar = ProgressBar::new(step.steps as u64).with_style(style).with_prefix(step.stage);
        self.losses = step.losses.iter().map(|(_, loss)| *loss).collect();
        self.bar = Some((step.stage, bar.clone()));
        bar
    }
}

/// Weight of the newest loss in the shown one.
const SMOOTHING: f32 = 0.05;
/// Steps between two lines where there is no terminal.
const PLAIN_EVERY: usize = 100;
