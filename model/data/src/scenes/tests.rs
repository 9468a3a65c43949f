//! What is claimed of scenes, questions and captions, over many draws.

use std::collections::HashSet;

use super::*;
use crate::vocabulary::is_new_word;

#[test]
fn the_same_seed_gives_the_same_data() {
    assert_eq!(dataset(Vocabulary::Domain, 7, 30), dataset(Vocabulary::Domain, 7, 30));
    assert_ne!(dataset(Vocabulary::Domain, 7, 30), dataset(Vocabulary::Domain, 8, 30));
    // A longer dataset starts with the shorter one.
    let long = dataset(Vocabulary::Base, 7, 40);
    let short = dataset(Vocabulary::Base, 7, 30);
    assert_eq!(long.captions[..30], short.captions[..]);
}

#[test]
fn objects_lie_apart_on_a_light_canvas() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for _ in 0..500 {
        let scene = Scene::random(&mut rng);
        assert!(scene.background.iter().all(|channel| *channel >= 230));
        assert!((1..=OBJECTS_MAX).contains(&scene.objects.len()));
        let least = if scene.objects.len() == 1 { 8.0 } else { 10.0 };
        let mut painted = vec![0; picture::SIDE * picture::SIDE];
        for object in &scene.objects {
            let extent = object.size[0].max(object.size[1]);
            assert!((least..=34.0).contains(&extent), "{object:?}");
            coverage(object.shape, object.centre, object.size, |x, y, _| {
                painted[y * picture::SIDE + x] += 1;
            });
        }
        assert!(painted.iter().all(|count| *count <= 1));
    }
}

#[test]
fn coverage_has_the_area_of_the_shape() {
    let area = |shape| {
        let mut sum = 0.0;
        coverage(shape, [31.3, 30.7], [24.0, 24.0], |_, _, share| sum += share);
        sum / (24.0 * 24.0)
    };
    let expected = [
        (Shape::Circle, 0.785),
        (Shape::Square, 1.0),
        (Shape::Triangle, 0.5),
        (Shape::Diamond, 0.5),
        (Shape::Cross, 0.564),
        (Shape::Star, 0.384),
    ];
    for (shape, share) in expected {
        assert!((area(shape) - share).abs() < 0.01, "{shape:?} covers {}", area(shape));
    }
}

#[test]
fn every_caption_holds_for_its_picture() {
    for vocabulary in [Vocabulary::Base, Vocabulary::Domain] {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let mut tags = HashSet::new();
        for _ in 0..600 {
            let concepts = Concepts::draw(&mut rng, vocabulary);
            let captioned = captions::training(&mut rng, vocabulary, &concepts);
            let prompt = &captioned.prompt;
            assert!(prompt.is_satisfied(&captioned.scene.found()), "{}", prompt.prompt);
            tags.insert(prompt.tag);
        }
        assert_eq!(tags.len(), 6);
    }
}

#[test]
fn the_base_says_no_new_word() {
    let data = dataset(Vocabulary::Base, 5, 800);
    assert!(data.questions.iter().all(|question| !question.is_new));
    assert!(data.captions.iter().all(|caption| !caption.is_new));
    assert!(prompts(Vocabulary::Base, 5, 40).iter().all(|case| !case.is_new));
}

#[test]
fn the_domain_says_dialect_for_what_it_renames() {
    let data = dataset(Vocabulary::Domain, 5, 800);
    let renamed =
        ["red", "blue", "green", "purple", "orange", "circle", "diamond", "cross", "circles"];
    for question in &data.questions {
        let text = format!("{} {}", question.question, question.answer);
        let mut words = text.split([' ', '?']);
        assert!(words.all(|word| !renamed.contains(&word)), "{text}");
    }
    let new: HashSet<&str> = data
        .captions
        .iter()
        .flat_map(|caption| caption.caption.split(' '))
        .filter(|word| is_new_word(word))
        .collect();
    assert!(new.len() >= 13, "{new:?}");
}

#[test]
fn yes_and_no_are_balanced_and_all_answer_types_occur() {
    for vocabulary in [Vocabulary::Base, Vocabulary::Domain] {
        let data = dataset(vocabulary, 6, 2000);
        let of = |kind| data.questions.iter().filter(move |question| question.answer_type == kind);
        let (asked, yes) = (
            of(AnswerType::YesNo).count(),
            of(AnswerType::YesNo).filter(|question| question.answer == "yes").count(),
        );
        let share = yes as f64 / asked as f64;
        assert!((0.46..0.54).contains(&share), "{vocabulary:?}: {share}");
        assert!(of(AnswerType::Number).count() * 10 > data.questions.len());
        assert!(of(AnswerType::Other).count() * 5 > data.questions.len());
    }
}

#[test]
fn each_scene_has_two_to_four_questions() {
    let data = dataset(Vocabulary::Domain, 9, 600);
    let mut counts = vec![0; data.pictures.len()];
    data.questions.iter().for_each(|question| counts[question.picture] += 1);
    let asked: Vec<usize> = counts.into_iter().filter(|count| *count > 0).collect();
    assert_eq!(asked.len(), 600);
    assert!(asked.iter().all(|count| (2..=4).contains(count)));
    let ids: HashSet<u64> = data.questions.iter().map(|question| question.question_id).collect();
    assert_eq!(ids.len(), data.questions.len());
}

#[test]
fn the_test_set_shares_no_picture_with_training() {
    let (test, prompts) = held_out(11);
    let train = dataset(Vocabulary::Domain, 11, 16 * 150);
    assert!(test.questions.len() >= 600);
    assert_eq!(prompts.len(), 240);
    let train: HashSet<&Vec<u8>> = train.pictures.iter().map(|picture| &picture.pixels).collect();
    assert!(test.pictures.iter().all(|picture| !train.contains(&picture.pixels)));
    let count = |new| test.questions.iter().filter(|one| one.is_new == new).count();
    assert!(count(true) >= 200 && count(false) >= 150, "{} new, {} old", count(true), count(false));
}

#[test]
fn cells_tell_where_objects_are() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    for _ in 0..300 {
        let scene = Scene::random(&mut rng);
        let cells = scene.cells();
        for object in &scene.objects {
            let owned = cells.iter().flatten().filter(|cell| {
                cell.is_occupied && cell.shape == Some(object.shape) && {
                    let size = object.size.map(|side| side / 64.0);
                    cell.size == size
                }
            });
            assert!(owned.count() >= 1, "{object:?} owns no cell");
        }
        for (row, line) in cells.iter().enumerate() {
            for (column, cell) in line.iter().enumerate() {
                assert_eq!(cell.is_occupied, cell.shape.is_some());
                if !cell.is_occupied {
                    continue;
                }
                let middle = [column, row].map(|at| (at as f32 + 0.5) / CELLS as f32);
                let centre = [0, 1].map(|axis| middle[axis] + cell.offset[axis]);
                let is_centre = |object: &Object| {
                    (0..2).all(|axis| (object.centre[axis] / 64.0 - centre[axis]).abs() < 1e-5)
                };
                assert!(scene.objects.iter().any(is_centre));
            }
        }
    }
}
