//! Partitions in which members lack a kind of data: a type of answer, or a whole modality.

use std::collections::BTreeMap;

use super::{CAPTION_SEED, PartitionError, check, iid};
use crate::{AnswerType, VqaExample};

/// Questions of one answer type for each member; with fewer members than types, of several.
///
/// Types that are asked go round the roster in VQA v2's order; a type's members share it evenly.
pub(super) fn by_answer_type(
    questions: &[VqaExample],
    members: usize,
    seed: u64,
) -> Result<Vec<Vec<usize>>, PartitionError> {
    check(questions.len(), members)?;
    let mut types: BTreeMap<AnswerType, Vec<usize>> = BTreeMap::new();
    for (index, question) in questions.iter().enumerate() {
        types.entry(question.answer_type).or_default().push(index);
    }
    let count = types.len();
    let mut shares = vec![Vec::new(); members];
    for (turn, indices) in types.into_values().enumerate() {
        let mut takers: Vec<usize> = (0..members).filter(|member| member % count == turn).collect();
        if takers.is_empty() {
            takers.push(turn % members);
        }
        for (share, part) in iid(indices.len(), takers.len(), seed)?.into_iter().zip(&takers) {
            shares[*part].extend(share.into_iter().map(|at| indices[at]));
        }
    }
    shares.iter_mut().for_each(|share| share.sort_unstable());
    Ok(shares)
}

/// The shares of questions, and those of captions.
pub(super) type Shares = (Vec<Vec<usize>>, Vec<Vec<usize>>);

pub(super) fn by_modality(
    (questions, captions): (usize, usize),
    members: usize,
    seed: u64,
) -> Result<Shares, PartitionError> {
    let deal = |examples: usize, found_no, first: usize, seed| {
        let takers: Vec<usize> = (first..members).step_by(2).collect();
        let mut shares = vec![Vec::new(); members];
        match examples {
            0 => return Err(PartitionError::NoModality { found_no }),
            _ if takers.is_empty() => {
                return Err(PartitionError::Alone);
            }
            _ => {}
        }
        for (share, taker) in iid(examples, takers.len(), seed)?.into_iter().zip(takers) {
            shares[taker] = share;
        }
        Ok(shares)
    };
    Ok((
        deal(questions, "questions", 0, seed)?,
        deal(captions, "captions", 1, seed ^ CAPTION_SEED)?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partition::{self, Partition};
    use crate::scenes;
    use crate::vocabulary::Vocabulary;
    use std::collections::BTreeSet;

    fn is_complete(shares: &[Vec<usize>], examples: usize) -> bool {
        let mut all: Vec<usize> = shares.concat();
        all.sort_unstable();
        all == (0..examples).collect::<Vec<_>>()
    }

    #[test]
    fn by_answer_type_each_member_has_one_type_and_nothing_is_lost() {
        let data = scenes::dataset(Vocabulary::Domain, 6, 200);
        for members in [1, 2, 3, 7] {
            let how = Partition::ByAnswerType;
            let parts = partition::parts(&data.questions, &data.captions, members, how, 7).unwrap();
            let questions: Vec<_> = parts.iter().map(|part| part.questions.clone()).collect();
            let captions: Vec<_> = parts.iter().map(|part| part.captions.clone()).collect();
            assert!(is_complete(&questions, data.questions.len()));
            assert!(is_complete(&captions, data.captions.len()));
            for (member, part) in parts.iter().enumerate() {
                let types: BTreeSet<AnswerType> =
                    part.questions.iter().map(|at| data.questions[*at].answer_type).collect();
                assert_eq!(types.len(), if members < 3 { 4 - members - member } else { 1 });
                assert!(!part.captions.is_empty());
            }
        }
    }

    #[test]
    fn by_modality_a_member_has_questions_or_captions() {
        let data = scenes::dataset(Vocabulary::Domain, 6, 100);
        let how = Partition::ByModality;
        let parts = |members| partition::parts(&data.questions, &data.captions, members, how, 7);
        let five = parts(5).unwrap();
        for (member, part) in five.iter().enumerate() {
            assert_eq!(part.questions.is_empty(), member % 2 == 1, "{member}");
            assert_eq!(part.captions.is_empty(), member % 2 == 0, "{member}");
        }
        let questions: Vec<_> = five.iter().map(|part| part.questions.clone()).collect();
        assert!(is_complete(&questions, data.questions.len()));
        assert_eq!(parts(1), Err(PartitionError::Alone));
        let none = partition::parts(&data.questions, &[], 4, how, 7);
        assert_eq!(none, Err(PartitionError::NoModality { found_no: "captions" }));
    }
}
