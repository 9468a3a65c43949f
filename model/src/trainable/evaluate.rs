//! Evaluates a loaded model: every question answered, every prompt drawn and judged, whichever
//! model it is.

use std::ops::ControlFlow;

use witan_data::evaluate::geneval::folder::{Folder, FolderError};
use witan_data::evaluate::{Tally, geneval, vqa};
use witan_data::evaluation::{Evaluation, EvaluationSet, Skipped};
use witan_data::fault::Fault;
use witan_data::scenes::PromptCase;

use super::{BaseModel, Drawing, DrawingKind, Targets, Trainable, TrainingData};

/// An evaluation set as a model has read it.
#[derive(Clone)]
pub struct EvaluationData {
    /// The set, with the prompts that are drawn and judged.
    pub set: EvaluationSet,
    /// The prompts that are not.
    pub skipped: Skipped,
    /// What the detector finds right of the set's own pictures.
    pub ceiling: geneval::Report,
    /// Whether old and new words are told apart.
    by_words: bool,
    read: TrainingData,
}

/// How prompts are drawn.
#[derive(Clone, Copy, Debug)]
pub struct Drawings<'a> {
    /// Decides the noise: image `k` of prompt `i` starts from stream `i` of the noise of `seed +
    /// k`, so that the first image is the one of every other report.
    pub seed: u64,
    /// Drawings of each prompt.
    pub images: usize,
    /// Where they are written too.
    pub folder: Option<&'a Folder>,
}

/// How far an evaluation is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// "answering" or "drawing".
    pub stage: &'static str,
    /// How many of it are done.
    pub done: usize,
    /// How many there are.
    pub total: usize,
}

impl EvaluationData {
    /// Has `model`, of `base`, read a set. Prompts of words it does not know are skipped, and all
    /// of them if nothing judges its drawings.
    ///
    /// # Errors
    /// If the model cannot read it.
    pub fn read(
        base: &dyn BaseModel,
        model: &dyn Trainable,
        mut set: EvaluationSet,
    ) -> Result<Self, Fault> {
        let read = model.read(&set.dataset, Targets::default())?;
        let (skipped, ceiling) = match base.drawing() {
            DrawingKind::Pixels => (set.skip_unknown(base.words()), set.ceiling()),
            DrawingKind::Features => {
                set.prompts.clear();
                Default::default()
            }
        };
        // Which words one that knows all was taught before is not known.
        Ok(Self { set, skipped, ceiling, by_words: base.words().is_some(), read })
    }
}

/// Evaluates the adapter that is in. `progress` hears of every batch and may stop it.
///
/// # Errors
/// If data cannot be read any more, a drawing cannot be written, or it was stopped.
pub fn evaluate(
    model: &dyn Trainable,
    data: &EvaluationData,
    drawings: Drawings<'_>,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Evaluation, Fault> {
    let questions = &data.set.dataset.questions;
    let mut tell = |stage, done, total| match progress(Progress { stage, done, total }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(Fault::stopped()),
    };
    let mut answers = Vec::with_capacity(questions.len());
    while answers.len() < questions.len() {
        let end = (answers.len() + model.batch_max()).min(questions.len());
        answers.extend(model.answers(&data.read, answers.len()..end)?);
        tell("answering", end, questions.len())?;
    }
    let mut answered = vqa::score(questions, &answers);
    if !data.by_words {
        (answered.old, answered.new) = (Tally::default(), Tally::default());
    }
    let (cases, captions) = (&data.set.prompts, data.set.captions());
    let mut drawn = geneval::Report::default();
    let mut is_ever_right = vec![false; cases.len()];
    for image in 0..drawings.images {
        let seed = drawings.seed.wrapping_add(image as u64);
        for start in (0..cases.len()).step_by(model.batch_max()) {
            let range = start..(start + model.batch_max()).min(cases.len());
            let made = model.draw(&captions, range.clone(), seed)?;
            for (number, drawing) in range.clone().zip(made) {
                let PromptCase { prompt, is_new } = &cases[number];
                let Drawing::Pixels(picture) = drawing else { continue };
                let is_right = geneval::is_right(prompt, &picture);
                drawn.add(prompt.tag, *is_new, is_right);
                is_ever_right[number] |= is_right;
                if let Some(folder) = drawings.folder {
                    folder.add((number, prompt), image, &picture).map_err(unwritten)?;
                }
            }
            tell("drawing", image * cases.len() + range.end, cases.len() * drawings.images)?;
        }
    }
    let prompts_right = is_ever_right.iter().filter(|it| **it).count();
    Ok(Evaluation { answers, answered, drawn, prompts_right })
}

/// What to do about a folder of drawings.
pub fn unwritten(error: FolderError) -> Fault {
    let hint = "name a folder that is new or empty with --geneval-export or --out";
    match error {
        FolderError::Taken { .. } => Fault::input(error).hint(hint),
        FolderError::Unwritable { .. } => Fault::environment(error).hint(hint),
    }
}
