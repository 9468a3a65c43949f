//! `witan eval`.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;

use serde::Serialize;
use witan_home::settings::{DataSource, Settings, Share};
use witan_home::{Failure, Home};
use witan_lab::tables::percent;
use witan_node::jobs::chosen::Source;
use witan_node::jobs::device::Compute;
use witan_node::jobs::evaluate::{self, Evaluation, Order};
use witan_node::jobs::score::{Marks, by_task};
use witan_node::jobs::shard::Extent;

use super::bar::Bar;
use super::{output, source};

/// Measure how good a model is: VQA v2 accuracy and GenEval-Scenes on data nobody trains on.
///
/// Of a home, by the held-out part of its own data; else by the embedded scenes, or the validation
/// split of a folder given with --vqa. Without --home and --adapter: the base that ships in this
/// program.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A node's home folder, running or not.
    #[arg(long, value_name = "FOLDER")]
    home: Option<PathBuf>,
    /// This round of the home, 0 for what all members started from; the newest if left out.
    #[arg(long, value_name = "NUMBER", requires = "home", conflicts_with = "model")]
    round: Option<u64>,
    /// Instead of a home: an adapter that Python's peft or `witan export` wrote.
    #[arg(long, value_name = "FOLDER", conflicts_with = "home")]
    adapter: Option<PathBuf>,
    /// A BLIP3o checkpoint's folder instead of the embedded model; --adapter goes on it.
    #[arg(long, value_name = "FOLDER", conflicts_with = "home")]
    model: Option<PathBuf>,
    /// A folder of VQA v2's own files to ask about.
    #[arg(long, value_name = "FOLDER")]
    vqa: Option<PathBuf>,
    /// A file of image and caption pairs, a tenth of which is held out; alone, or with --vqa.
    #[arg(long, value_name = "FILE")]
    captions: Option<PathBuf>,
    /// Of a folder, only the 600 questions and 240 captions that `witan testnet` scores by.
    #[arg(long)]
    sample: bool,
    /// Draw the prompts of this file instead of the data's own: JSON lines in GenEval's schema, of
    /// shapes and colours.
    #[arg(long, value_name = "FILE")]
    prompts: Option<PathBuf>,
    /// Write the answers as VQA v2's official scorer reads them.
    #[arg(long, value_name = "FILE")]
    results: Option<PathBuf>,
    /// Write the drawings in GenEval's folder layout for another scorer; the folder must be new or
    /// empty.
    #[arg(long, value_name = "FOLDER")]
    geneval_export: Option<PathBuf>,
    /// Drawings of each prompt; 1, or GenEval's 4 with --geneval-export.
    #[arg(long, value_name = "COUNT")]
    images: Option<usize>,
    /// Seed of the drawings' noise, and of the scenes where no home says; that of the home, or 1.
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// Compute on cpu or cuda.
    #[arg(long, value_name = "DEVICE", default_value_t)]
    device: Compute,
    /// Print one JSON object, and no progress.
    #[arg(long)]
    json: bool,
}

/// Evaluates and prints.
pub fn run(args: &Args) -> Result<(), Failure> {
    let images = args.images.unwrap_or(if args.geneval_export.is_some() { 4 } else { 1 });
    if !(1..=IMAGES_MAX).contains(&images) {
        return Err(Failure::usage(format!("--images {images}: expected 1 to {IMAGES_MAX}"))
            .hint("GenEval draws 4 of each prompt"));
    }
    let (data, seed) = data(args)?;
    let order = Order {
        data: &data,
        extent: if args.sample { Extent::Sample } else { Extent::Whole },
        prompts: args.prompts.as_deref(),
        seed,
        images,
        results: args.results.as_deref(),
        export: args.geneval_export.as_deref(),
    };
    let mut bar = Bar::new(args.json);
    let (home, adapter) = (args.home.as_deref(), args.adapter.as_deref());
    let mut evaluate = |source: Source<'_>| {
        evaluate::run(source, &order, args.device, &mut |progress| bar.tell(progress))
    };
    let evaluation = match &args.model {
        Some(folder) => evaluate(Source::Checkpoint(folder, adapter)),
        None => source::read(home, args.round, adapter, evaluate),
    }?;
    bar.end();
    let report = Report::new(args, &data, &order, &evaluation);
    output::print(|out| match args.json {
        true => output::json_line(out, &report),
        false => for_people(out, &report, &evaluation),
    })
}

/// What is asked, and the seed of the drawings.
fn data(args: &Args) -> Result<(DataSource, u64), Failure> {
    let home = args.home.as_ref().map(Home::existing).transpose()?;
    let seed = match (args.seed, &home) {
        (Some(seed), _) => seed,
        (None, Some(home)) => home.read_federation()?.document().seed,
        (None, None) => 1,
    };
    let share = Share { index: 0, of: 1, alpha: None, by: None, seed };
    let data = match home {
        Some(home) if args.vqa.is_none() && args.captions.is_none() => {
            Settings::read(&home.settings_file())?.data
        }
        _ => DataSource::of(args.vqa.clone(), args.captions.clone(), seed, share),
    };
    Ok((data, seed))
}

/// The evaluation for programs.
#[derive(Debug, Serialize)]
struct Report {
    /// Which model.
    model: String,
    /// Which data.
    data: String,
    /// How many were answered.
    questions: u64,
    /// How many were drawn, and how often each.
    prompts: usize,
    images_per_prompt: usize,
    /// Share of the prompts of which at least one drawing is right.
    prompts_right: Option<f64>,
    /// Prompts left out for an unknown word.
    prompts_left_out: usize,
    #[serde(flatten)]
    marks: Marks,
    /// What the detector finds right of the data's own captioned pictures.
    drawing_ceiling: Option<f64>,
    drawing_ceiling_by_task: BTreeMap<String, f64>,
}

impl Report {
    fn new(args: &Args, data: &DataSource, order: &Order<'_>, evaluation: &Evaluation) -> Self {
        let (right, prompts) = evaluation.prompts;
        let base =
            args.model.as_ref().map(|folder| format!("the checkpoint in {}", folder.display()));
        let model = match (&args.home, &args.adapter, args.round) {
            (Some(home), _, Some(round)) => format!("round {round} of {}", home.display()),
            (Some(home), _, None) => format!("the newest round of {}", home.display()),
            (None, Some(adapter), _) => match base {
                Some(base) => format!("{base} with the adapter in {}", adapter.display()),
                None => format!("the adapter in {}", adapter.display()),
            },
            (None, None, _) => base.unwrap_or("the base".to_owned()) + ", without any adapter",
        };
        let part = if args.sample { "a sample of what" } else { "what" };
        let data = format!("{part} is held out of {data}");
        Self {
            model,
            data,
            questions: evaluation.answered.all.asked,
            prompts,
            images_per_prompt: order.images,
            prompts_right: (prompts > 0).then(|| right as f64 / prompts as f64),
            prompts_left_out: evaluation.undrawn.count,
            marks: Marks::of(&evaluation.answered, &evaluation.drawn),
            drawing_ceiling: evaluation.ceiling.all.overall(),
            drawing_ceiling_by_task: by_task(&evaluation.ceiling),
        }
    }
}

fn for_people(out: &mut dyn Write, report: &Report, evaluation: &Evaluation) -> io::Result<()> {
    writeln!(out, "{}\n{}\n", report.model, report.data)?;
    answers(out, evaluation)?;
    if evaluation.draws_features {
        return writeln!(
            out,
            "no drawings: a checkpoint's are features, which `witan model draw --prompts` writes for its own decoder"
        );
    }
    if report.prompts == 0 {
        return writeln!(out, "no drawings: these data hold no captions with words it knows");
    }
    let ceilings = &report.drawing_ceiling_by_task;
    let drawn = &evaluation.drawn;
    let mut rows: Vec<_> = drawn
        .all
        .tags
        .iter()
        .map(|(tag, tally)| {
            let ceiling = ceilings.get(tag.name()).copied();
            let asked = tally.asked.to_string();
            vec![tag.name().to_owned(), percent(tally.fraction()), asked, percent(ceiling)]
        })
        .collect();
    let asked = drawn.all.total().asked.to_string();
    let ceiling = percent(report.drawing_ceiling);
    rows.push(vec!["mean of the tasks".into(), percent(drawn.all.overall()), asked, ceiling]);
    for (name, part) in [("old words", &drawn.old), ("new words", &drawn.new)] {
        let asked = part.total().asked.to_string();
        rows.push(vec![name.to_owned(), percent(part.overall()), asked, String::new()]);
    }
    let header = ["GenEval-Scenes", "right", "of", "ceiling"];
    writeln!(out, "{}", output::trimmed(&output::table(&header, rows)))?;
    if report.images_per_prompt > 1 {
        let right = percent(report.prompts_right);
        writeln!(out, "{right} of the {} prompts have a right drawing", report.prompts)?;
    }
    if let (count @ 1.., Some(word)) = (evaluation.undrawn.count, &evaluation.undrawn.first) {
        writeln!(out, "{count} of the {} prompts are left out: {word}", evaluation.undrawn.of)?;
    }
    writeln!(
        out,
        "Drawings are judged by GenEval's rules with our own detector of shapes: no GenEval figures."
    )?;
    writeln!(out, "ceiling: what that detector finds right of the real pictures.")
}

fn answers(out: &mut dyn Write, evaluation: &Evaluation) -> io::Result<()> {
    let answered = &evaluation.answered;
    if answered.all.asked == 0 {
        return Ok(());
    }
    let row = |name: &str, asked: u64, share: Option<f64>| {
        vec![name.to_owned(), percent(share), asked.to_string()]
    };
    let mut rows = vec![row("all", answered.all.asked, answered.all.fraction())];
    for (kind, tally) in &answered.by_answer_type {
        rows.push(row(kind.name(), tally.asked, tally.fraction()));
    }
    for (name, part) in [("old words", &answered.old), ("new words", &answered.new)] {
        if part.asked > 0 {
            rows.push(row(name, part.asked, part.fraction()));
        }
    }
    for (name, tally) in &answered.by_question_type {
        rows.push(row(&format!("\"{name} …\""), tally.asked, tally.fraction()));
    }
    writeln!(out, "{}", output::trimmed(&output::table(&["VQA v2", "right", "of"], rows)))
}

/// More drawings of a prompt than anyone compares.
pub(super) const IMAGES_MAX: usize = 100;
