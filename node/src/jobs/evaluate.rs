//! How good a model is: every held-out question answered, every prompt drawn and judged, and the files that the
//! official scorers read.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use serde::Serialize;
use witan_home::Failure;
use witan_home::settings::DataSource;
use witan_model::Umm;
use witan_model::data::scenes::PromptCase;
use witan_model::data::{self, VqaExample};
use witan_model::evaluate::geneval::folder::{Folder, FolderError};
use witan_model::evaluate::{geneval, vqa};

use super::chosen::{Chosen, Source};
use super::device::{self, Compute, Device};
use super::foundation::{Checkpoint, Foundation};
use super::score::{Exam, Undrawn};
use super::shard::{self, Extent};
use super::unified::{self, Unified};

/// What is asked, and what is kept of it.
#[derive(Clone, Debug)]
pub struct Order<'a> {
    /// Whose held-out part.
    pub data: &'a DataSource,
    /// How much of it.
    pub extent: Extent,
    /// Drawn in place of the data's own prompts: a file in GenEval's form.
    pub prompts: Option<&'a Path>,
    /// Decides the noise that drawings start from.
    pub seed: u64,
    /// Drawings of each prompt.
    pub images: usize,
    /// Where VQA v2's results file goes.
    pub results: Option<&'a Path>,
    /// Where GenEval's folders go.
    pub export: Option<&'a Path>,
}

/// How far the work is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// "answering" or "drawing".
    pub stage: &'static str,
    /// How many of it are done.
    pub done: usize,
    /// How many there are.
    pub total: usize,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Evaluation {
    /// Answers by VQA v2's rule.
    pub answered: vqa::Report,
    /// Drawings by GenEval's rules.
    pub drawn: geneval::Report,
    /// Prompts of which at least one drawing is right, and prompts.
    pub prompts: (usize, usize),
    /// What the detector finds right of the data's own pictures.
    pub ceiling: geneval::Report,
    /// Prompts left out.
    pub undrawn: Undrawn,
    /// Whether it is a checkpoint's, whose drawings nothing here judges.
    pub draws_features: bool,
}

/// One line of VQA v2's results file.
#[derive(Serialize)]
struct Answer<'a> {
    question_id: u64,
    answer: &'a str,
}

/// Evaluates a model.
///
/// # Errors
/// If there is no such device, the model or the data cannot be read, or a file cannot be written.
pub fn run(
    source: Source<'_>,
    order: &Order<'_>,
    compute: Compute,
    tell: &mut dyn FnMut(Progress),
) -> Result<Evaluation, Failure> {
    let device = device::open(compute)?;
    let chosen = Chosen::read(source)?;
    if let Foundation::Blip3o(checkpoint) = &chosen.foundation {
        return checkpoint_run(&chosen, checkpoint, order, (&device, tell));
    }
    let umm = chosen.umm(&device)?;
    let mut paper = shard::exam(order.data, order.extent)?;
    if let Some(path) = order.prompts {
        paper.prompts = prompts(path, &umm)?;
    }
    // Before the long work: what cannot be written is better told now.
    let results = ResultsFile::create(order.results)?;
    let export = order.export.map(|root| Folder::create(root).map_err(unwritten)).transpose()?;
    let exam = Exam::new(&umm, paper);
    let answers = answers(&umm, &exam, tell);
    results.write(&exam.dataset().questions, &answers)?;
    let (drawn, prompts) = drawings(&umm, &exam, order, (export.as_ref(), tell))?;
    Ok(Evaluation {
        answered: vqa::score(&exam.dataset().questions, &answers),
        drawn,
        prompts,
        ceiling: exam.ceiling(),
        undrawn: exam.undrawn().clone(),
        draws_features: false,
    })
}

/// A checkpoint answers; its drawings are features, which nothing here judges.
fn checkpoint_run(
    chosen: &Chosen,
    checkpoint: &Checkpoint,
    order: &Order<'_>,
    (device, tell): (&Device, &mut dyn FnMut(Progress)),
) -> Result<Evaluation, Failure> {
    if order.prompts.is_some() || order.export.is_some() {
        let message =
            "a checkpoint draws features, which are judged once its own decoder has painted them";
        return Err(Failure::usage(message)
            .hint("write them in GenEval's folders with `witan model draw DIR --prompts FILE --out FOLDER`"));
    }
    let dataset = shard::exam(order.data, order.extent)?.dataset;
    let results = ResultsFile::create(order.results)?;
    let mut unified = Unified::open(checkpoint, Some(&chosen.lora), device)?;
    unified.adopt(&chosen.committed.adapter)?;
    let (shard, total) = (unified.read(&dataset, None)?, dataset.questions.len());
    let mut answers = Vec::with_capacity(total);
    for question in 0..total {
        answers.push(unified.answer_of(&shard, question)?);
        tell(Progress { stage: "answering", done: answers.len(), total });
    }
    results.write(&dataset.questions, &answers)?;
    let answered = unified::score(&dataset.questions, &answers);
    Ok(Evaluation { answered, draws_features: true, ..Evaluation::default() })
}

/// VQA v2's results file, if one is wanted.
struct ResultsFile<'a>(Option<(&'a Path, File)>);

impl<'a> ResultsFile<'a> {
    fn create(path: Option<&'a Path>) -> Result<Self, Failure> {
        let create = |path| match File::create(path) {
            Ok(file) => Ok((path, file)),
            Err(error) => Err(unwritable(path, &error)),
        };
        path.map(create).transpose().map(Self)
    }

    fn write(self, questions: &[VqaExample], answers: &[String]) -> Result<(), Failure> {
        let Some((path, mut file)) = self.0 else { return Ok(()) };
        let lines = questions.iter().zip(answers);
        let lines =
            lines.map(|(question, answer)| Answer { question_id: question.question_id, answer });
        let json = serde_json::to_vec(&lines.collect::<Vec<_>>()).expect("answers are plain JSON");
        file.write_all(&json).map_err(|error| unwritable(path, &error))
    }
}

/// The prompts of a file, which must all be drawn, or the score would be of other prompts.
fn prompts(path: &Path, umm: &Umm) -> Result<Vec<PromptCase>, Failure> {
    let cases = data::prompts::read(path).map_err(|error| {
        Failure::input(error).hint("prompts are lines as of GenEval's evaluation_metadata.jsonl")
    })?;
    let known = |(line, case): (usize, PromptCase)| {
        umm.tokenizer().encode(&case.prompt.prompt).map(|_| case).map_err(|word| {
            Failure::input(format!("{}, line {line}: {word}", path.display()))
                .hint("`witan ask --words` lists every word it knows")
        })
    };
    cases.into_iter().map(known).collect()
}

fn answers(umm: &Umm, exam: &Exam, tell: &mut dyn FnMut(Progress)) -> Vec<String> {
    let total = exam.dataset().questions.len();
    let mut answers = Vec::with_capacity(total);
    while answers.len() < total {
        let end = (answers.len() + QUESTIONS_AT_ONCE).min(total);
        answers.extend(umm.answer_batch(exam.encoded(), answers.len()..end));
        tell(Progress { stage: "answering", done: end, total });
    }
    answers
}

/// Draws every prompt `images` times and judges it. Image `k` of prompt `i` starts from stream `i` of the noise of
/// `seed + k`, so that the first image is the one of every other report.
fn drawings(
    umm: &Umm,
    exam: &Exam,
    order: &Order<'_>,
    (export, tell): (Option<&Folder>, &mut dyn FnMut(Progress)),
) -> Result<(geneval::Report, (usize, usize)), Failure> {
    let (cases, captions) = (exam.prompts(), exam.captions());
    let total = cases.len() * order.images;
    let mut report = geneval::Report::default();
    let mut is_ever_right = vec![false; cases.len()];
    for image in 0..order.images {
        let seed = order.seed.wrapping_add(image as u64);
        for start in (0..cases.len()).step_by(DRAWINGS_AT_ONCE) {
            let range = start..(start + DRAWINGS_AT_ONCE).min(cases.len());
            let drawings = umm.draw_part(&captions, range.clone(), seed);
            let drawings = drawings.expect("prompts of unknown words are left out");
            for (number, drawing) in range.clone().zip(&drawings) {
                let PromptCase { prompt, is_new } = &cases[number];
                let is_right = geneval::is_right(prompt, drawing);
                report.add(prompt.tag, *is_new, is_right);
                is_ever_right[number] |= is_right;
                if let Some(folder) = export {
                    folder.add((number, prompt), image, drawing).map_err(unwritten)?;
                }
            }
            tell(Progress { stage: "drawing", done: image * cases.len() + range.end, total });
        }
    }
    let right = is_ever_right.iter().filter(|it| **it).count();
    Ok((report, (right, cases.len())))
}

fn unwritable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::environment(format!("cannot write {}: {error}", path.display()))
        .hint("name a file in a folder you can write to with --results")
}

pub(super) fn unwritten(error: FolderError) -> Failure {
    let hint = "name a folder that is new or empty with --geneval-export or --out";
    match error {
        FolderError::Taken { .. } => Failure::input(error).hint(hint),
        FolderError::Unwritable { .. } => Failure::environment(error).hint(hint),
    }
}

/// Between two words on the progress.
const QUESTIONS_AT_ONCE: usize = 256;
/// Likewise; a drawing takes as long as a dozen answers.
const DRAWINGS_AT_ONCE: usize = 64;
