//! `witan eval`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use serde::Serialize;
use witan_data::evaluate::geneval::folder::Folder;
use witan_data::evaluation::{Evaluation, write_results};
use witan_data::metrics::{Metrics, by_task};
use witan_data::source::Extent;
use witan_home::settings::Compute;
use witan_home::settings::{DataSource, Settings, Share};
use witan_home::{Failure, Home};
use witan_lab::tables::percent;
use witan_model::device;
use witan_model::trainable::{self, DrawingKind, Drawings, EvaluationData, unwritten};

use super::bar::Bar;
use super::output;
use super::source::ModelArgs;

/// Measure how good a model is: VQA v2 accuracy and GenEval-Scenes on data nobody trains on.
///
/// Of a home, by the held-out part of its own data; else by the embedded scenes, or the validation
/// split of a folder given with --vqa.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
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
    /// Drawings of each prompt [default: 1, or GenEval's 4 with --geneval-export].
    #[arg(long, value_name = "COUNT")]
    images: Option<usize>,
    /// Seed of the drawings' noise, and of the scenes where no home says [default: the home's, or
    /// 1].
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
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let images = args.images.unwrap_or(if args.geneval_export.is_some() { 4 } else { 1 });
    if !(1..=IMAGES_MAX).contains(&images) {
        return Err(Failure::usage(format!("--images {images}: expected 1 to {IMAGES_MAX}"))
            .hint("GenEval draws 4 of each prompt"));
    }
    let (source, seed) = data(args)?;
    let device = device::open(args.device)?;
    let adapted = args.model.open()?;
    let kind = adapted.base.drawing();
    if kind == DrawingKind::Features && (args.prompts.is_some() || args.geneval_export.is_some()) {
        let message =
            "a checkpoint draws features, which are judged once its own decoder has painted them";
        return Err(Failure::usage(message).hint(
            "write them in GenEval's folders with `witan draw --model DIR --prompts FILE --out \
             FOLDER`",
        ));
    }
    let extent = if args.sample { Extent::Sample } else { Extent::Whole };
    let mut set = source.evaluation_set(extent)?;
    if let Some(path) = &args.prompts {
        set.replace_prompts(path, adapted.base.words())?;
    }
    // Before the long work: what cannot be written is better told now.
    let results = args.results.as_deref();
    let mut results_file = results.map(create).transpose()?;
    let folder = args.geneval_export.as_deref();
    let folder = folder.map(|root| Folder::create(root).map_err(unwritten)).transpose()?;
    let model = adapted.load(&device)?;
    let data = EvaluationData::read(&*adapted.base, &*model, set)?;
    let mut bar = Bar::new(args.json);
    let drawings = Drawings { seed, images, folder: folder.as_ref() };
    let evaluation = trainable::evaluate(&*model, &data, drawings, &mut |progress| {
        bar.tell(progress);
        ControlFlow::Continue(())
    })?;
    bar.end();
    if let (Some(file), Some(path)) = (&mut results_file, results) {
        let written = write_results(file, &data.set.dataset.questions, &evaluation.answers);
        written.map_err(|error| unwritable(path, &error))?;
    }
    let report = Report::new(args, &source, (&data, &evaluation), images);
    output::print(|out| match args.json {
        true => output::json_line(out, &report),
        false => for_people(out, &report, (&data, &evaluation), kind),
    })
}

fn create(path: &Path) -> Result<File, Failure> {
    File::create(path).map_err(|error| unwritable(path, &error))
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    Failure::environment(format!("cannot write {}: {error}", path.display()))
        .hint("name a file in a folder you can write to with --results")
}

/// What is asked, and the seed of the drawings.
fn data(args: &Args) -> Result<(DataSource, u64), Failure> {
    let home = args.model.home.as_ref().map(Home::existing).transpose()?;
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
    metrics: Metrics,
    /// What the detector finds right of the data's own captioned pictures.
    drawing_ceiling: Option<f64>,
    drawing_ceiling_by_task: BTreeMap<String, f64>,
}

impl Report {
    fn new(
        args: &Args,
        source: &DataSource,
        (data, evaluation): (&EvaluationData, &Evaluation),
        images: usize,
    ) -> Self {
        let prompts = data.set.prompts.len();
        let part = if args.sample { "a sample of what" } else { "what" };
        Self {
            model: args.model.describe(),
            data: format!("{part} is held out of {source}"),
            questions: evaluation.answered.all.asked,
            prompts,
            images_per_prompt: images,
            prompts_right: (prompts > 0).then(|| evaluation.prompts_right as f64 / prompts as f64),
            prompts_left_out: data.skipped.count,
            metrics: evaluation.metrics(),
            drawing_ceiling: data.ceiling.all.overall(),
            drawing_ceiling_by_task: by_task(&data.ceiling),
        }
    }
}

fn for_people(
    out: &mut dyn Write,
    report: &Report,
    (data, evaluation): (&EvaluationData, &Evaluation),
    kind: DrawingKind,
) -> io::Result<()> {
    writeln!(out, "{}\n{}\n", report.model, report.data)?;
    answers(out, evaluation)?;
    if kind == DrawingKind::Features {
        return writeln!(
            out,
            "no drawings: a checkpoint's are features, which `witan draw --prompts` writes for its \
             own decoder"
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
    writeln!(out, "{}", output::table(&header, rows))?;
    if report.images_per_prompt > 1 {
        let right = percent(report.prompts_right);
        writeln!(out, "{right} of the {} prompts have a right drawing", report.prompts)?;
    }
    if let (count @ 1.., Some(word)) = (data.skipped.count, &data.skipped.first) {
        writeln!(out, "{count} of the {} prompts are left out: {word}", data.skipped.of)?;
    }
    writeln!(
        out,
        "Drawings are judged by GenEval's rules with our own detector of shapes: no GenEval \
         figures."
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
    writeln!(out, "{}", output::table(&["VQA v2", "right", "of"], rows))
}

/// More drawings of a prompt than anyone compares.
pub(super) const IMAGES_MAX: usize = 100;
