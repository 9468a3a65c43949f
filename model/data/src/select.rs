//! Datasets made of parts of a dataset: a subset, some held out.
//!
//! Pictures follow their questions and captions; an index never points into another dataset.

use std::collections::{BTreeSet, HashMap};

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::{CaptionExample, Dataset, Picture, VqaExample};

impl Dataset {
    /// The questions and captions at these indices, with the pictures they refer to and no other.
    ///
    /// Pictures keep their order. Panics where an index is out of range.
    pub fn subset(&self, questions: &[usize], captions: &[usize]) -> Self {
        let Selection { questions, captions, pictures } =
            select((&self.questions, questions), (&self.captions, captions));
        let pictures = pictures.into_iter().map(|old| self.pictures[old].clone()).collect();
        Self { pictures, questions, captions }
    }

    /// Kept and held out: about `per_mille` of the pictures, with all that is said of them.
    ///
    /// A picture is on one side only. Which one follows from its pixels alone, not from its place,
    /// so that it is held out again in any larger dataset that is split alike, but for rounding. Of
    /// two pictures or more at least one is held out and one kept if `per_mille` is 1 to 999.
    pub fn split_held_out(self, per_mille: u32) -> (Self, Self) {
        let total = self.pictures.len();
        let wanted = (total as u64 * u64::from(per_mille.min(1000))).div_ceil(1000) as usize;
        let keeps_one = per_mille < 1000 && total > 0;
        let wanted = if keeps_one { wanted.min(total - 1) } else { wanted };
        let mut order: Vec<usize> = (0..total).collect();
        order.sort_by_cached_key(|index| (fingerprint(&self.pictures[*index]), *index));
        let mut is_held_out = vec![false; total];
        order[..wanted].iter().for_each(|index| is_held_out[*index] = true);
        let side = |held_out: bool| {
            let questions: Vec<usize> = (0..self.questions.len())
                .filter(|at| is_held_out[self.questions[*at].picture] == held_out)
                .collect();
            let captions: Vec<usize> = (0..self.captions.len())
                .filter(|at| is_held_out[self.captions[*at].picture] == held_out)
                .collect();
            self.subset(&questions, &captions)
        };
        (side(false), side(true))
    }
}

/// Some questions and captions, and the pictures they refer to.
pub(super) struct Selection {
    /// Their `picture` counts the selected pictures.
    pub questions: Vec<VqaExample>,
    /// Likewise.
    pub captions: Vec<CaptionExample>,
    /// Which pictures, by their old indices, in their old order.
    pub pictures: Vec<usize>,
}

/// Selects by index from all questions and captions. Panics where an index is out of range.
pub(super) fn select(
    (questions, asked): (&[VqaExample], &[usize]),
    (captions, shown): (&[CaptionExample], &[usize]),
) -> Selection {
    let mut questions: Vec<_> = asked.iter().map(|index| questions[*index].clone()).collect();
    let mut captions: Vec<_> = shown.iter().map(|index| captions[*index].clone()).collect();
    let used = questions.iter().map(|one| one.picture);
    let used: BTreeSet<usize> = used.chain(captions.iter().map(|one| one.picture)).collect();
    let pictures: Vec<usize> = used.into_iter().collect();
    let places: HashMap<usize, usize> =
        pictures.iter().enumerate().map(|(new, old)| (*old, new)).collect();
    questions.iter_mut().for_each(|question| question.picture = places[&question.picture]);
    captions.iter_mut().for_each(|caption| caption.picture = places[&caption.picture]);
    Selection { questions, captions, pictures }
}

/// At most `count_max` of `total` indices, sorted, chosen by the seed.
pub(super) fn sample(total: usize, count_max: usize, seed: u64) -> Vec<usize> {
    let mut indices: Vec<usize> = (0..total).collect();
    indices.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    indices.truncate(count_max);
    indices.sort_unstable();
    indices
}

/// FNV-1a with a final mix: the same on every machine, and no more is asked of it.
fn fingerprint(picture: &Picture) -> u64 {
    let hash = picture
        .pixels
        .iter()
        .fold(FNV_OFFSET, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(FNV_PRIME));
    (hash ^ (hash >> 32)).wrapping_mul(FNV_PRIME)
}

const FNV_OFFSET: u64 = 0xCBF2_9CE4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01B3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenes;
    use crate::vocabulary::Vocabulary;

    #[test]
    fn a_picture_is_held_out_or_kept() {
        let whole = scenes::dataset(Vocabulary::Domain, 1, 90);
        let questions = whole.questions.len();
        let total = whole.pictures.len();
        let (kept, held) = whole.clone().split_held_out(100);
        assert_eq!(held.pictures.len(), total.div_ceil(10));
        assert_eq!(kept.pictures.len() + held.pictures.len(), total);
        assert_eq!(kept.questions.len() + held.questions.len(), questions);
        assert!(held.pictures.iter().all(|picture| !kept.pictures.contains(picture)));
        assert_eq!(whole.clone().split_held_out(100), (kept, held));
        assert_eq!(whole.clone().split_held_out(0), (whole.clone(), Dataset::default()));
        assert_eq!(whole.clone().split_held_out(1000), (Dataset::default(), whole));
    }
}
