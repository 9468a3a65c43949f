//! A member's data: read from where `node.toml` says, cut to this member's share, and split into what
//! it trains on and what it keeps aside to score with. The data never leave this folder's functions.

use witan_model::data::{Dataset, partition, scenes, vqa_v2};

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
/// Whatever is wrong with the files, named.
pub fn read(source: &DataSource) -> Result<Shard, Failure> {
    let (whole, share) = match source {
        DataSource::Scenes { seed, share } => (scenes::federation_split(*seed).train, Some(share)),
        DataSource::Vqa { dir, share } => (
            vqa_v2::read(dir, vqa_v2::Split::Train).map_err(|error| {
                Failure::input(error)
                    .hint("docs/DATA.md says what a VQA v2 folder must hold")
            })?,
            share.as_ref(),
        ),
    };
    let mine = match share {
        Some(share) => part(&whole, share),
        None => whole,
    };
    let (training, held_out) = split(mine);
    Ok(Shard { training, held_out })
}

/// Every member's part of `whole`; the same on every member.
pub fn parts(whole: &Dataset, share: &Share) -> Vec<Dataset> {
    let kind = match share.alpha {
        Some(alpha) => partition::Partition::Dirichlet(alpha),
        None => partition::Partition::Iid,
    };
    partition::partition(whole, share.of, kind, share.seed)
}

fn part(whole: &Dataset, share: &Share) -> Dataset {
    parts(whole, share).swap_remove(share.index)
}
