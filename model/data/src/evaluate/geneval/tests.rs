//! The rules on made-up objects, and the detector on pixels.

use super::detector::detect;
use super::*;
use crate::scenes::{self, Object, Scene};
use crate::vocabulary::{Colour, Relation, Shape, Vocabulary};
use crate::{Dataset, Picture};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn at(shape: Shape, colour: Colour, centre: [f32; 2]) -> Found {
    Found { shape, colour, centre, size: [10.0, 10.0], confidence: 0.9 }
}

fn prompt(json: &str) -> Prompt {
    serde_json::from_str(json).unwrap()
}

#[test]
fn prompts_read_and_write_geneval_json() {
    let line = concat!(
        r#"{"tag":"position","include":[{"class":"star","count":1},"#,
        r#"{"class":"circle","count":1,"color":"red","position":["left of",0]}],"#,
        r#""prompt":"a red circle left of a star"}"#
    );
    let read = prompt(line);
    assert_eq!(read.include[1].position, Some(Position { relation: Relation::LeftOf, of: 0 }));
    assert_eq!(serde_json::to_string(&read).unwrap(), line);
    let wrong = line.replace("left of\"", "beside\"");
    assert!(serde_json::from_str::<Prompt>(&wrong).unwrap_err().to_string().contains("beside"));
    let dialect = line.replace("\"circle\"", "\"disc\"").replace("\"red\"", "\"crimson\"");
    assert_eq!(prompt(&dialect), read);
}

#[test]
fn prompts_that_cannot_be_judged_are_refused() {
    for (include, told) in [
        ("[]", "includes nothing"),
        (r#"[{"class": "star", "count": 0}]"#, "count is 0"),
        (r#"[{"class": "star", "count": -1}]"#, "invalid value"),
        (r#"[{"class": "bench", "count": 1}]"#, "unknown class \"bench\""),
        (r#"[{"class": "star", "count": 1, "color": "white"}]"#, "unknown color \"white\""),
        (r#"[{"class": "star", "count": 1, "position": ["left of", 0]}]"#, "refers to entry 0"),
        (r#"[{"class": "star", "count": 1, "position": ["left of"]}]"#, "invalid length 1"),
    ] {
        let line = format!(r#"{{"tag": "position", "prompt": "x", "include": {include}}}"#);
        let refusal = serde_json::from_str::<Prompt>(&line).unwrap_err().to_string();
        assert!(refusal.contains(told), "{told:?} in {refusal}");
    }
}

#[test]
fn excluded_objects_make_a_drawing_wrong_one_by_one() {
    let asked = prompt(
        r#"{"tag": "single_object", "prompt": "a star", "include": [{"class": "star", "count": 1}],
            "exclude": [{"class": "circle", "count": 1}, {"class": "shape", "count": 2}]}"#,
    );
    let [star, circle, cross] =
        [Shape::Star, Shape::Circle, Shape::Cross].map(|it| at(it, Colour::Red, [9.0, 9.0]));
    assert!(asked.is_satisfied(&[star]));
    assert!(!asked.is_satisfied(&[star, circle]), "a circle is one too many");
    assert!(asked.is_satisfied(&[star, cross]), "one other shape is allowed");
    assert!(!asked.is_satisfied(&[star, cross, cross]), "two are not");
}

#[test]
fn colours_of_many_must_all_be_right_and_positions_hold_for_every_pair() {
    let two_red = prompt(
        r#"{"tag": "colors", "prompt": "two red stars",
            "include": [{"class": "star", "count": 2, "color": "red"}]}"#,
    );
    let star = |colour, x| at(Shape::Star, colour, [x, 32.0]);
    assert!(two_red.is_satisfied(&[star(Colour::Red, 9.0), star(Colour::Red, 40.0)]));
    assert!(!two_red.is_satisfied(&[star(Colour::Red, 9.0), star(Colour::Blue, 40.0)]));
    let right_of_two = prompt(
        r#"{"tag": "position", "prompt": "a circle right of two stars", "include": [
            {"class": "star", "count": 2},
            {"class": "circle", "count": 1, "position": ["right of", 0]}]}"#,
    );
    let stars = [star(Colour::Red, 9.0), star(Colour::Red, 36.0)];
    let circle = |x| at(Shape::Circle, Colour::Red, [x, 32.0]);
    assert!(right_of_two.is_satisfied(&[stars[0], stars[1], circle(58.0)]));
    assert!(!right_of_two.is_satisfied(&[stars[0], stars[1], circle(24.0)]));
}

#[test]
fn counting_wants_exactly_the_count() {
    let three = prompt(
        r#"{"tag": "counting", "prompt": "three stars",
            "include": [{"class": "star", "count": 3}],
            "exclude": [{"class": "star", "count": 4}]}"#,
    );
    let stars = |count| vec![at(Shape::Star, Colour::Red, [9.0, 9.0]); count];
    let verdicts: Vec<bool> = (2..=4).map(|count| three.is_satisfied(&stars(count))).collect();
    assert_eq!(verdicts, [false, true, false]);
}

#[test]
fn colours_must_belong_to_their_class() {
    let asked = prompt(
        r#"{"tag": "color_attr", "prompt": "a red star and a blue circle", "include": [
            {"class": "star", "count": 1, "color": "red"},
            {"class": "circle", "count": 1, "color": "blue"}]}"#,
    );
    let (star, circle) = ([9.0, 9.0], [40.0, 40.0]);
    let right = [at(Shape::Star, Colour::Red, star), at(Shape::Circle, Colour::Blue, circle)];
    let swapped = [at(Shape::Star, Colour::Blue, star), at(Shape::Circle, Colour::Red, circle)];
    assert!(asked.is_satisfied(&right));
    assert!(!asked.is_satisfied(&swapped));
}

#[test]
fn position_follows_geneval_slack_and_threshold() {
    let star = at(Shape::Star, Colour::Red, [32.0, 32.0]);
    let circle = |x, y| at(Shape::Circle, Colour::Red, [x, y]);
    // Slack is 0.1 · (10 + 10) = 2 pixels an axis.
    let table = [
        (circle(12.0, 32.0), [true, false, false, false]),
        (circle(52.0, 32.0), [false, true, false, false]),
        (circle(32.0, 12.0), [false, false, true, false]),
        (circle(32.0, 52.0), [false, false, false, true]),
        (circle(12.0, 12.0), [true, false, true, false]), // both at 45°
        (circle(30.5, 32.0), [false; 4]),                 // within the slack
        (circle(28.0, 32.0), [false; 4]),                 // (4 - 2) / 4 is not above one half
        (circle(27.0, 32.0), [true, false, false, false]), // (5 - 2) / 5 is
    ];
    for (circle, expected) in table {
        assert_eq!(
            Relation::ALL.map(|relation| circle.is(relation, &star)),
            expected,
            "{circle:?}"
        );
    }
}

#[test]
fn clean_renders_reach_the_ceiling() {
    let ceiling = detector_ceiling(1, 600);
    assert!(ceiling.all.overall().unwrap() >= 0.99, "{ceiling:?}");
}

#[test]
fn objects_of_any_scene_are_read_from_pixels() {
    let (right, asked) = read_back(400, |picture, _| picture);
    assert!(right * 100 >= asked * 99, "{right} of {asked}");
}

#[test]
fn soft_edges_and_slight_noise_are_tolerated() {
    let (right, asked) = read_back(300, |picture, rng| noisy(&blurred(&picture), rng));
    assert!(right * 100 >= asked * 94, "{right} of {asked}");
}

#[test]
fn an_empty_or_random_picture_holds_nothing_asked_for() {
    assert!(detect(&Picture::plain([240; 3])).is_empty());
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let cases = scenes::prompts(Vocabulary::Domain, 1, 10);
    let drawings: Vec<Picture> = cases
        .iter()
        .map(|_| Picture::new((0..64 * 64 * 3).map(|_| rng.random()).collect()))
        .collect();
    let report = score(&cases, &drawings);
    assert!(report.all.overall().unwrap() < 0.05, "{report:?}");
}

/// How many objects come back with their shape, colour and place, of how many drawn.
fn read_back(
    scenes: usize,
    change: impl Fn(Picture, &mut ChaCha8Rng) -> Picture,
) -> (usize, usize) {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let (mut right, mut asked) = (0, 0);
    for _ in 0..scenes {
        let scene = Scene::random(&mut rng);
        let found = detect(&change(scene.picture(), &mut rng));
        let is_read = |object: &&Object| {
            found.iter().any(|one| {
                let near = |axis: usize| (one.centre[axis] - object.centre[axis]).abs() < 1.5;
                one.shape == object.shape && one.colour == object.colour && near(0) && near(1)
            })
        };
        right += scene.objects.iter().filter(is_read).count();
        asked += scene.objects.len();
    }
    println!("{right} of {asked} objects");
    (right, asked)
}

fn blurred(picture: &Picture) -> Picture {
    let clamp = |at: usize, by: usize| (at + by).saturating_sub(1).min(63);
    let mut pixels = Vec::with_capacity(picture.pixels.len());
    for y in 0..64 {
        for x in 0..64 {
            for channel in 0..3 {
                let weights = [1, 2, 1];
                let mut sum = 0;
                for (dy, vertical) in weights.into_iter().enumerate() {
                    for (dx, horizontal) in weights.into_iter().enumerate() {
                        let rgb = picture.pixel(clamp(x, dx), clamp(y, dy));
                        sum += vertical * horizontal * u32::from(rgb[channel]);
                    }
                }
                pixels.push((sum / 16) as u8);
            }
        }
    }
    Picture::new(pixels)
}

fn noisy(picture: &Picture, rng: &mut ChaCha8Rng) -> Picture {
    let shake = |value: &u8| (i16::from(*value) + rng.random_range(-12..=12)).clamp(0, 255) as u8;
    Picture::new(picture.pixels.iter().map(shake).collect())
}

/// What a faultless drawer would score: clean renders of `scenes` captioned scenes, judged by
/// pixels.
fn detector_ceiling(seed: u64, scenes: usize) -> Report {
    let Dataset { pictures, captions, .. } = scenes::dataset(Vocabulary::Domain, seed, scenes);
    let mut report = Report::default();
    for caption in &captions {
        let Some(prompt) = &caption.prompt else { continue };
        report.add(prompt.tag, caption.is_new, is_right(prompt, &pictures[caption.picture]));
    }
    report
}
