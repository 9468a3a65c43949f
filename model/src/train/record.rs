//! The batches of a plan in a file, for a reference implementation in another framework.

use burn::tensor::Device;
use witan_adapter::tensors::{HostTensor, Weights, encode};

use super::sampler::Batches;
use super::{TrainError, TrainPlan};
use crate::families::lora_model::LoraModel;
use crate::families::tiny::Umm;
use crate::families::tiny::shard::EncodedShard;
use crate::families::tiny::training::{Asked, Captioned, dealt};
use crate::host::floats;

/// All batches of a plan as safetensors, for a reference implementation in another framework.
///
/// Tensors of step `i` are named `i.questions` (slots: words below the vocabulary's size, rows of
/// `i.pictures` above), `i.question_padding`, `i.answers`, `i.captions`, `i.caption_padding`,
/// `i.targets`, `i.levels`, `i.noise` and `i.kept`; whole numbers are kept as f32 too.
///
/// # Errors
/// The shard has nothing to train on.
pub fn record(umm: &Umm, shard: &EncodedShard, plan: &TrainPlan) -> Result<Vec<u8>, TrainError> {
    let mut batches = Batches::new(umm.examples(shard), plan)?;
    let mut tensors = Weights::new();
    for step in 0..plan.local_steps {
        let mut insert = |name: &str, shape: Vec<usize>, values: Vec<f32>| {
            tensors.insert(format!("{step}.{name}"), HostTensor { shape, values });
        };
        let (asked, captioned) = dealt(umm, shard, batches.next());
        if let Some(Asked { pictures, rows, answers }) = asked {
            let answers: Vec<f32> = answers.iter().map(|answer| *answer as f32).collect();
            insert("answers", vec![answers.len()], answers);
            let ([slots, padding], shape) = rows.numbers();
            insert("question_padding", vec![shape[0]], padding);
            insert("questions", shape.to_vec(), slots);
            let pictures = shard.tokens.rows(&pictures, &Device::flex());
            insert("pictures", pictures.dims().to_vec(), floats(pictures));
        }
        if let Some(Captioned { pictures, rows, noise }) = captioned {
            let ([slots, padding], shape) = rows.numbers();
            insert("caption_padding", vec![shape[0]], padding);
            insert("captions", shape.to_vec(), slots);
            let targets = shard.targets.rows(&pictures, &Device::flex());
            let [_, patches, patch] = targets.dims();
            insert("noise", vec![noise.levels.len(), patches, patch], noise.values);
            insert("targets", targets.dims().to_vec(), floats(targets));
            insert("levels", vec![noise.levels.len()], noise.levels);
            insert("kept", vec![noise.kept.len()], noise.kept);
        }
    }
    Ok(encode(&tensors))
}
