//! A member's data: read from where `node.toml` says, cut to this member's share, and split into what
//! it trains on and what it keeps aside to score with. Data never leave the thread that reads them.

use witan_model::data::Dataset;
use witan_model::data::partition::{self, Partition};
use witan_model::data::scenes::{self, PromptCase};

use crate::error::Failure;
use crate::settings::{DataSource, Share};

/// A member's data.
#[derive(Clone, Debug)]
pub struct Shard {
    /// Trained on.
    pub training: Dataset,
    /// Scored on, never trained on.
    pub held_out: Dataset,
}

/// Reads a member's data.
///
/// # Errors
/// If the source has nothing for this member.
pub fn read(source: &DataSource) -> Result<Shard, Failure> {
    let DataSource::Scenes { share, .. } = source;
    let mut parts = parts(source)?;
    let mine = parts.swap_remove(share.index);
    let held_out = keep_pictures(&mine, |picture| picture % HELD_OUT_EVERY == 0);
    let training = keep_pictures(&mine, |picture| picture % HELD_OUT_EVERY != 0);
    if training.questions.is_empty() && training.captions.is_empty() {
        return Err(Failure::input(format!("part {} of the data is empty", share.index))
            .hint("use fewer members, or a larger alpha"));
    }
    Ok(Shard { training, held_out })
}

/// Every member's part, in roster order; the same on every member.
///
/// # Errors
/// If there are fewer examples than members.
pub fn parts(source: &DataSource) -> Result<Vec<Dataset>, Failure> {
    let DataSource::Scenes { seed, share } = source;
    let Share { of, alpha, seed: partition_seed, .. } = *share;
    let whole = scenes::federation_split(*seed, of, SCENES_PER_MEMBER).train;
    let kind = alpha.map_or(Partition::Iid, Partition::Dirichlet);
    partition::partition(&whole, of, kind, partition_seed)
        .map_err(|error| Failure::input(error).hint("use fewer members"))
}

/// What no member trains on: the federation's held-out questions and prompts.
pub fn exam(source: &DataSource) -> (Dataset, Vec<PromptCase>) {
    let DataSource::Scenes { seed, share } = source;
    let split = scenes::federation_split(*seed, share.of, SCENES_PER_MEMBER);
    (split.test, split.prompts)
}

/// The questions and captions of the pictures that `keeps` says, so that a picture is on one side of
/// a split only.
fn keep_pictures(whole: &Dataset, keeps: impl Fn(usize) -> bool) -> Dataset {
    let mut kept = Dataset::default();
    let mut places = vec![None; whole.pictures.len()];
    for (index, picture) in whole.pictures.iter().enumerate().filter(|(index, _)| keeps(*index)) {
        places[index] = Some(kept.pictures.len());
        kept.pictures.push(picture.clone());
    }
    for question in &whole.questions {
        if let Some(place) = places[question.picture] {
            let mut question = question.clone();
            question.picture = place;
            kept.questions.push(question);
        }
    }
    for caption in &whole.captions {
        if let Some(place) = places[caption.picture] {
            let mut caption = caption.clone();
            caption.picture = place;
            kept.captions.push(caption);
        }
    }
    kept
}

/// Scenes of the embedded data for each member of a testnet.
pub const SCENES_PER_MEMBER: usize = 150;
/// Every how many pictures one is kept aside for a member's own scores.
const HELD_OUT_EVERY: usize = 10;
