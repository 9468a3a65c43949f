//! Shares a dataset out among members, unevenly and reproducibly.
//!
//! The Dirichlet partition is that of NVIDIA FLARE's fedumm example: for each class (answers in
//! sorted order) one draw of the members' proportions, a shuffle of the class's examples, and cuts
//! at the floor of the cumulative proportions. Two deviations: the random generator is ChaCha8, and
//! no member is left with too little ([`fill_small`]), where the original may leave a member
//! without anything. Kept of the original: the floor gives the last example of every class to the
//! last member, so that it has most of the answers that are given once or twice.
//!
//! Every member computes the whole partition from the seed and keeps its own part; nobody is asked.

mod kinds;

use std::collections::BTreeMap;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Gamma};
use thiserror::Error;

use crate::{CaptionExample, VqaExample};
use kinds::{by_answer_type, by_modality};

/// How examples are shared out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Partition {
    /// Each class by its own Dirichlet draw; smaller is less even. FedUMM reports 0.1, 0.5 and 1.
    Dirichlet(f64),
    /// Every member alike: shuffled, then dealt in turn.
    Iid,
    /// One member has yes/no questions only, the next numbers, the next the rest, and so on round
    /// the roster; captions are dealt evenly.
    ByAnswerType,
    /// Members take turns: one has questions and no caption, the next captions and no question.
    ByModality,
}

/// Why a dataset cannot be shared out.
#[derive(Clone, Copy, Debug, PartialEq, Error)]
pub(crate) enum PartitionError {
    #[error("a partition needs at least one member")]
    NoMembers,
    #[error("alpha must be a positive number, found {found}")]
    Alpha { found: f64 },
    #[error("a partition by modality needs questions and captions, found no {found_no}")]
    NoModality { found_no: &'static str },
    #[error("a partition by modality needs at least two members")]
    Alone,
    #[error("{examples} examples are too few for {members} members")]
    TooFew { examples: usize, members: usize },
}

/// One member's part of a dataset, as indices into its questions and captions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// Sorted.
    pub questions: Vec<usize>,
    /// Sorted.
    pub captions: Vec<usize>,
}

/// Shares questions and captions out, each on their own; no picture is needed for it. Without
/// captions, the parts have none. The Dirichlet partition goes by answer, and by [`subject`].
pub(crate) fn parts(
    questions: &[VqaExample],
    captions: &[CaptionExample],
    members: usize,
    how: Partition,
    seed: u64,
) -> Result<Vec<Part>, PartitionError> {
    let answers = || questions.iter().map(|question| question.answer.clone()).collect::<Vec<_>>();
    let subjects = || captions.iter().map(subject).collect::<Vec<_>>();
    // A seed of their own, or the first question and caption classes would be drawn alike.
    let caption_seed = seed ^ CAPTION_SEED;
    let (asked, shown) = (questions.len(), captions.len());
    let (questions, captions) = match how {
        Partition::Dirichlet(alpha) => (
            or_none(asked, members, || dirichlet(&answers(), members, alpha, seed))?,
            or_none(shown, members, || dirichlet(&subjects(), members, alpha, caption_seed))?,
        ),
        Partition::Iid => (
            or_none(asked, members, || iid(asked, members, seed))?,
            or_none(shown, members, || iid(shown, members, caption_seed))?,
        ),
        Partition::ByAnswerType => (
            or_none(asked, members, || by_answer_type(questions, members, seed))?,
            or_none(shown, members, || iid(shown, members, caption_seed))?,
        ),
        Partition::ByModality => by_modality((asked, shown), members, seed)?,
    };
    let pairs = questions.into_iter().zip(captions);
    Ok(pairs.map(|(questions, captions)| Part { questions, captions }).collect())
}

/// The Dirichlet partition of labelled examples: for each member the sorted indices of its share.
pub(crate) fn dirichlet(
    labels: &[String],
    members: usize,
    alpha: f64,
    seed: u64,
) -> Result<Vec<Vec<usize>>, PartitionError> {
    check(labels.len(), members)?;
    let is_positive = alpha.is_finite() && alpha > 0.0;
    let gamma = Gamma::new(alpha, 1.0).ok().filter(|_| is_positive);
    let gamma = gamma.ok_or(PartitionError::Alpha { found: alpha })?;
    let mut classes: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, label) in labels.iter().enumerate() {
        classes.entry(label).or_default().push(index);
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut shares = vec![Vec::new(); members];
    for mut indices in classes.into_values() {
        // Independent gammas over their sum are a Dirichlet draw.
        let weights: Vec<f64> = (0..members).map(|_| gamma.sample(&mut rng)).collect();
        let total: f64 = weights.iter().sum();
        indices.shuffle(&mut rng);
        let (mut start, mut sum) = (0, 0.0);
        for (member, weight) in weights.into_iter().enumerate() {
            sum += weight;
            let is_last = member + 1 == members;
            // A tiny alpha can round every weight to zero; then the last member takes the class.
            let reached = if total > 0.0 { sum / total * indices.len() as f64 } else { 0.0 };
            let cut = (reached as usize).clamp(start, indices.len());
            let end = if is_last { indices.len() } else { cut };
            shares[member].extend_from_slice(&indices[start..end]);
            start = end;
        }
    }
    fill_small(&mut shares, labels.len());
    shares.iter_mut().for_each(|share| share.sort_unstable());
    Ok(shares)
}

/// An even partition: indices shuffled, then dealt in turn, each share sorted.
pub(crate) fn iid(
    examples: usize,
    members: usize,
    seed: u64,
) -> Result<Vec<Vec<usize>>, PartitionError> {
    check(examples, members)?;
    let mut indices: Vec<usize> = (0..examples).collect();
    indices.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    let mut shares = vec![Vec::new(); members];
    for (turn, index) in indices.into_iter().enumerate() {
        shares[turn % members].push(index);
    }
    shares.iter_mut().for_each(|share| share.sort_unstable());
    Ok(shares)
}

/// Gives every member its minimum: a quarter of an even share, at least one.
///
/// The member with least takes the last example of the member with most, over and over, until all
/// have the minimum; of equals the first member is meant. Without chance: all nodes do the same.
fn fill_small(shares: &mut [Vec<usize>], examples: usize) {
    let minimum = (examples / shares.len() / MINIMUM_DIVISOR).max(1);
    loop {
        let sizes = || shares.iter().map(Vec::len).enumerate();
        let smallest = sizes().min_by_key(|(member, size)| (*size, *member));
        let largest = sizes().max_by_key(|(member, size)| (*size, usize::MAX - *member));
        let (Some((small, size)), Some((large, _))) = (smallest, largest) else {
            return;
        };
        if size >= minimum || small == large {
            return;
        }
        let Some(moved) = shares[large].pop() else {
            return;
        };
        shares[small].push(moved);
    }
}

/// The shares of examples; nobody has any where there are none.
fn or_none(
    examples: usize,
    members: usize,
    share: impl FnOnce() -> Result<Vec<Vec<usize>>, PartitionError>,
) -> Result<Vec<Vec<usize>>, PartitionError> {
    if examples == 0 && members > 0 { Ok(vec![Vec::new(); members]) } else { share() }
}

fn check(examples: usize, members: usize) -> Result<(), PartitionError> {
    match members {
        0 => Err(PartitionError::NoMembers),
        _ if examples < members => Err(PartitionError::TooFew { examples, members }),
        _ => Ok(()),
    }
}

/// "red circle" of the caption's first object; what the caption does not say is left open. Captions
/// without a rule, of which nobody said what they show, are one class together.
pub(crate) fn subject(caption: &CaptionExample) -> String {
    let Some(first) = caption.prompt.as_ref().and_then(|prompt| prompt.include.first()) else {
        return NO_RULE.to_owned();
    };
    let colour = first.color.map_or("any", |colour| colour.name());
    let shape = first.class.map_or("shape", |shape| shape.name());
    format!("{colour} {shape}")
}

/// A member has at least this part of an even share.
const MINIMUM_DIVISOR: usize = 4;
const CAPTION_SEED: u64 = 0x6361_7074_696f_6e73;
/// The class of captions without a rule; no colour is called so.
const NO_RULE: &str = "no rule";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenes;
    use crate::vocabulary::Vocabulary;

    fn labels(count: usize) -> Vec<String> {
        (0..count).map(|index| format!("class {}", index * index % 7)).collect()
    }

    fn is_complete(shares: &[Vec<usize>], examples: usize) -> bool {
        let mut all: Vec<usize> = shares.concat();
        all.sort_unstable();
        all == (0..examples).collect::<Vec<_>>()
    }

    #[test]
    fn the_same_seed_gives_the_same_shares() {
        let labels = labels(900);
        let share = |seed| dirichlet(&labels, 16, 0.5, seed).unwrap();
        assert_eq!(share(1), share(1));
        assert_ne!(share(1), share(2));
        // Pinned, so that no change of a library moves the partition unnoticed.
        let sizes: Vec<usize> = share(1).iter().map(Vec::len).collect();
        assert_eq!(sizes, PINNED);
    }

    #[test]
    fn every_example_goes_to_one_member_and_none_is_left_empty() {
        let labels = labels(640);
        for alpha in [0.001, 0.1, 0.5, 1.0, 100.0] {
            let shares = dirichlet(&labels, 16, alpha, 3).unwrap();
            assert!(is_complete(&shares, 640));
            assert!(shares.iter().all(|share| share.len() >= 10), "alpha {alpha}");
        }
        assert!(dirichlet(&labels[..16], 16, 0.1, 3).unwrap().iter().all(|one| one.len() == 1));
    }

    #[test]
    fn a_smaller_alpha_is_more_uneven() {
        let labels = labels(3200);
        let spread = |alpha| {
            let shares = dirichlet(&labels, 16, alpha, 4).unwrap();
            let class =
                |share: &[usize]| share.iter().filter(|at| labels[**at] == "class 1").count();
            let counts: Vec<usize> = shares.iter().map(|share| class(share)).collect();
            counts.iter().max().unwrap() - counts.iter().min().unwrap()
        };
        assert!(spread(0.1) > spread(1.0));
        assert!(spread(1.0) > spread(100.0));
    }

    #[test]
    fn captions_without_a_rule_are_shared_out_as_one_class() {
        let caption = |index| CaptionExample {
            picture: index,
            caption: format!("caption {index}"),
            prompt: None,
            is_new: false,
        };
        let captions: Vec<_> = (0..320).map(caption).collect();
        let sizes = |alpha| {
            let parts = parts(&[], &captions, 16, Partition::Dirichlet(alpha), 1).unwrap();
            let shares: Vec<_> = parts.into_iter().map(|part| part.captions).collect();
            assert!(is_complete(&shares, 320));
            shares.iter().map(Vec::len).collect::<Vec<_>>()
        };
        let even = sizes(100.0);
        assert!(even.iter().all(|size| (10..=30).contains(size)), "{even:?}");
        let uneven = sizes(0.1);
        assert!(uneven.iter().max() > Some(&60), "{uneven:?}");
    }

    #[test]
    fn iid_shares_differ_by_one_at_most() {
        let shares = iid(103, 4, 5).unwrap();
        assert!(is_complete(&shares, 103));
        assert!(shares.iter().all(|share| (25..=26).contains(&share.len())));
    }

    #[test]
    fn parts_carry_their_own_pictures_and_nothing_else() {
        let dataset = scenes::dataset(Vocabulary::Domain, 6, 200);
        for how in [Partition::Dirichlet(0.5), Partition::Iid] {
            let parts = parts(&dataset.questions, &dataset.captions, 8, how, 7).unwrap();
            let parts = parts.iter().map(|it| dataset.subset(&it.questions, &it.captions));
            let parts: Vec<_> = parts.collect();
            let questions: usize = parts.iter().map(|part| part.questions.len()).sum();
            let captions: usize = parts.iter().map(|part| part.captions.len()).sum();
            assert_eq!((questions, captions), (dataset.questions.len(), dataset.captions.len()));
            for part in &parts {
                assert!(!part.questions.is_empty() && !part.captions.is_empty());
                let mut is_used = vec![false; part.pictures.len()];
                for question in &part.questions {
                    is_used[question.picture] = true;
                    let id = question.question_id;
                    let whole = dataset.questions.iter().find(|one| one.question_id == id).unwrap();
                    assert_eq!(part.pictures[question.picture], dataset.pictures[whole.picture]);
                }
                part.captions.iter().for_each(|caption| is_used[caption.picture] = true);
                assert!(is_used.into_iter().all(|used| used));
            }
        }
    }

    #[test]
    fn impossible_partitions_are_refused() {
        let labels = labels(10);
        assert_eq!(dirichlet(&labels, 0, 0.5, 1), Err(PartitionError::NoMembers));
        assert_eq!(dirichlet(&labels, 4, 0.0, 1), Err(PartitionError::Alpha { found: 0.0 }));
        assert!(matches!(dirichlet(&labels, 4, f64::NAN, 1), Err(PartitionError::Alpha { .. })));
        let few = Err(PartitionError::TooFew { examples: 10, members: 11 });
        assert_eq!(dirichlet(&labels, 11, 0.5, 1), few);
        assert_eq!(iid(10, 11, 1), few);
    }

    const PINNED: [usize; 16] = [41, 22, 32, 66, 132, 74, 19, 14, 145, 34, 94, 47, 28, 26, 23, 103];
}
