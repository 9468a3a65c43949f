//! The models that members adapt, as jobs see them: data are read with one, its adapter is trained and scored.
//!
//! There are two, the embedded model and BLIP3o. Whatever trains or scores is written once, for either.

use std::ops::ControlFlow;

use witan_home::Failure;
use witan_model::data::partition::Part;
use witan_model::data::tokenizer::WordError;
use witan_model::data::{Dataset, VqaExample};
use witan_model::evaluate::geneval;
use witan_model::families::blip3o::tower::FOLDER;
use witan_model::families::blip3o::{self, Blip3o, Targets};
use witan_model::families::lora_model::LoraModel;
use witan_model::{Committed, EncodedShard, LoraConfig, Umm};

use super::device::Device;
use super::foundation::Foundation;
use super::score::{Exam, Marks, Undrawn};
use super::shard::ExamPaper;
use super::unified::{self, Unified};

/// Data as a model reads them.
pub type Read<M> = <<M as Model>::LoraModel as LoraModel>::Shard;
/// Hears how many of how many are done, and may stop the rest.
pub type Told<'a> = &'a mut dyn FnMut(usize, usize) -> ControlFlow<()>;
/// Makes targets for the captions of data, if they need any.
pub type TargetsOf<'a> = &'a dyn Fn(&Dataset) -> Result<Option<Targets>, Failure>;

/// A loaded model with room for an adapter.
pub trait Model: Send + Sized + 'static {
    /// What of it is trained.
    type LoraModel: LoraModel;
    /// Held-out data as it reads them.
    type Exam: Send + Sync;
    /// How many of it one machine has room for, whatever its cores.
    const LOADED_MAX: usize;

    /// Loads it.
    ///
    /// # Errors
    /// If it cannot be loaded, or `foundation` is the other model.
    fn load(foundation: &Foundation, lora: &LoraConfig, device: &Device) -> Result<Self, Failure>;

    /// Reads data to train on; a checkpoint's captions only with targets.
    ///
    /// # Errors
    /// If the tokenizer is another model's.
    fn read(&self, data: &Dataset, targets: Option<Targets>) -> Result<Read<Self>, Failure>;

    /// Reads a part of data that were read as a whole.
    ///
    /// # Errors
    /// As [`Model::read`], or if targets cannot be made.
    fn read_part(
        &self,
        whole: (&Dataset, &Read<Self>),
        part: &Part,
        targets: TargetsOf<'_>,
    ) -> Result<Read<Self>, Failure>;

    /// Refuses data that have nothing for it to learn.
    ///
    /// # Errors
    /// What they lack.
    fn can_learn(read: &Read<Self>) -> Result<(), Failure>;

    /// Reads held-out data.
    ///
    /// # Errors
    /// If the tokenizer is another model's.
    fn examine(&self, paper: ExamPaper) -> Result<Self::Exam, Failure>;

    /// Puts in what a round committed.
    ///
    /// # Errors
    /// If it is not of this model.
    fn adopt(&mut self, committed: &Committed) -> Result<(), Failure>;

    /// What of it is trained, with the adapter that is in.
    fn pupil(&mut self) -> &mut Self::LoraModel;

    /// The marks of the adapter that is in; none if it was stopped.
    ///
    /// # Errors
    /// If data cannot be read any more.
    fn marks(&self, exam: &Self::Exam, seed: u64, told: Told<'_>)
    -> Result<Option<Marks>, Failure>;

    /// What the detector finds right of the exam's own pictures: no drawing can be expected to do better.
    fn ceiling(_exam: &Self::Exam) -> geneval::Report {
        geneval::Report::default()
    }

    /// The exam's prompts that are not drawn.
    fn undrawn(_exam: &Self::Exam) -> Undrawn {
        Undrawn::default()
    }
}

/// The embedded model; pictures pass its frozen encoder when they are read.
impl Model for Umm {
    type LoraModel = Umm;
    type Exam = Exam;
    const LOADED_MAX: usize = usize::MAX;

    fn load(foundation: &Foundation, lora: &LoraConfig, device: &Device) -> Result<Self, Failure> {
        Umm::new(foundation.embedded()?, lora, device).map_err(Failure::input)
    }

    fn read(&self, data: &Dataset, _targets: Option<Targets>) -> Result<EncodedShard, Failure> {
        Ok(EncodedShard::encode(self, data))
    }

    fn read_part(
        &self,
        (data, read): (&Dataset, &EncodedShard),
        part: &Part,
        _targets: TargetsOf<'_>,
    ) -> Result<EncodedShard, Failure> {
        Ok(read.part(self, data, part))
    }

    fn can_learn(read: &EncodedShard) -> Result<(), Failure> {
        match read.example_count() {
            0 => Err(nothing_to_train_on(read.unknown())),
            _ => Ok(()),
        }
    }

    fn examine(&self, paper: ExamPaper) -> Result<Exam, Failure> {
        Ok(Exam::new(self, paper))
    }

    fn adopt(&mut self, committed: &Committed) -> Result<(), Failure> {
        self.set_committed(committed).map_err(Failure::input)
    }

    fn pupil(&mut self) -> &mut Umm {
        self
    }

    /// Takes a second or two, and says nothing on the way.
    fn marks(&self, exam: &Exam, seed: u64, _told: Told<'_>) -> Result<Option<Marks>, Failure> {
        Ok(Some(exam.marks(self, seed)))
    }

    fn ceiling(exam: &Exam) -> geneval::Report {
        exam.ceiling()
    }

    fn undrawn(exam: &Exam) -> Undrawn {
        exam.undrawn().clone()
    }
}

/// The questions of an exam as BLIP3o reads them; its drawings, which are features, are not judged.
pub struct Asked {
    read: blip3o::Shard,
    questions: Vec<VqaExample>,
}

impl Model for Unified {
    type LoraModel = Blip3o;
    type Exam = Asked;
    const LOADED_MAX: usize = 1;

    fn load(foundation: &Foundation, lora: &LoraConfig, device: &Device) -> Result<Self, Failure> {
        Unified::open(foundation.checkpoint()?, Some(lora), device)
    }

    fn read(&self, data: &Dataset, targets: Option<Targets>) -> Result<blip3o::Shard, Failure> {
        Unified::read(self, data, targets)
    }

    fn read_part(
        &self,
        (data, _): (&Dataset, &blip3o::Shard),
        part: &Part,
        targets: TargetsOf<'_>,
    ) -> Result<blip3o::Shard, Failure> {
        let data = data.subset(&part.questions, &part.captions);
        Unified::read(self, &data, targets(&data)?)
    }

    fn can_learn(read: &blip3o::Shard) -> Result<(), Failure> {
        let captions = read.undrawable_count();
        if read.example_count() == 0 {
            return Err(nothing_to_ask(captions));
        }
        if captions > 0 {
            tracing::error!(captions, "left out: the checkpoint has no {FOLDER}");
        }
        Ok(())
    }

    fn examine(&self, paper: ExamPaper) -> Result<Asked, Failure> {
        let read = Unified::read(self, &paper.dataset, None)?;
        Ok(Asked { read, questions: paper.dataset.questions })
    }

    fn adopt(&mut self, committed: &Committed) -> Result<(), Failure> {
        Unified::adopt(self, &committed.adapter)
    }

    fn pupil(&mut self) -> &mut Blip3o {
        &mut self.blip3o
    }

    fn marks(&self, exam: &Asked, _seed: u64, told: Told<'_>) -> Result<Option<Marks>, Failure> {
        let mut answers = Vec::with_capacity(exam.questions.len());
        for question in 0..exam.questions.len() {
            if told(question, exam.questions.len()).is_break() {
                return Ok(None);
            }
            answers.push(self.answer_of(&exam.read, question)?);
        }
        let answered = unified::score(&exam.questions, &answers);
        Ok(Some(Marks::of(&answered, &geneval::Report::default())))
    }
}

fn nothing_to_train_on(unknown: Option<&WordError>) -> Failure {
    let because = unknown.map(|error| format!(": {error}")).unwrap_or_default();
    Failure::input(format!("no question with a one-word answer and no caption{because}"))
}

fn nothing_to_ask(captions: usize) -> Failure {
    match captions {
        0 => Failure::input("neither a question nor a caption to train on"),
        some => Failure::input(format!(
            "no question, and {some} captions cannot be drawn without the tower that makes their targets"
        ))
        .hint(format!("put EVA-CLIP's tower into the checkpoint's folder {FOLDER}")),
    }
}
