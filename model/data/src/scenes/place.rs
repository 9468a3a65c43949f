//! Where objects go: on the canvas, clear of each other, and in a relation where one is asked.

use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use super::{Concepts, JITTER, Object, SIDE, Scene};
use crate::vocabulary::{Colour, Relation, Shape};

/// An object to be placed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Thing {
    pub shape: Shape,
    pub colour: Colour,
}

/// A scene of `count` objects, each of any drawn shape and colour.
pub(super) fn free(rng: &mut ChaCha8Rng, concepts: &Concepts, count: usize) -> Scene {
    let things: Vec<Thing> = (0..count)
        .map(|_| Thing {
            shape: *concepts.drawn_shapes.choose(rng).expect("some shape is drawn"),
            colour: *concepts.drawn_colours.choose(rng).expect("some colour is drawn"),
        })
        .collect();
    scene(rng, &things, None)
}

/// A scene of these things; with a relation, the second is clearly in it to the first.
///
/// Tries sizes and places until all fit. Each failure lowers the sizes a little, so that it ends.
pub(super) fn scene(rng: &mut ChaCha8Rng, things: &[Thing], relation: Option<Relation>) -> Scene {
    let background = std::array::from_fn(|_| rng.random_range(230..=255));
    let (size_min, mut size_max) = match things.len() {
        1 => (8.0, 34.0),
        2 => (10.0, 26.0),
        3 => (10.0, 22.0),
        _ => (10.0, 19.0),
    };
    loop {
        let objects: Vec<Object> =
            things.iter().map(|thing| object(rng, *thing, size_min..size_max)).collect();
        let is_related = relation.is_none_or(|relation| {
            objects[1].found().lean(relation, &objects[0].found()) > CLEAR_LEAN
        });
        if is_related && are_apart(&objects) {
            return Scene { background, objects };
        }
        size_max = (size_max * SHRINK).max(size_min + 1.0);
    }
}

fn object(rng: &mut ChaCha8Rng, thing: Thing, sizes: std::ops::Range<f32>) -> Object {
    let Thing { shape, colour } = thing;
    let extent = rng.random_range(sizes);
    let size = match shape {
        Shape::Triangle => [extent, extent * 0.87],
        Shape::Star => [extent, extent * 0.951],
        Shape::Rectangle => {
            let long = extent.max(RECTANGLE_MIN);
            let short = long / rng.random_range(RECTANGLE_ASPECT);
            if rng.random_bool(0.5) { [long, short] } else { [short, long] }
        }
        _ => [extent; 2],
    };
    let centre = size.map(|side| {
        let clear = side / 2.0 + MARGIN;
        rng.random_range(clear..SIDE - clear)
    });
    let is_exact = rng.random_bool(0.5);
    let rgb = colour.rgb().map(|channel| {
        let jitter = if is_exact { 0 } else { rng.random_range(-JITTER..=JITTER) };
        (i16::from(channel) + jitter).clamp(0, 255) as u8
    });
    Object { shape, colour, rgb, centre, size }
}

fn are_apart(objects: &[Object]) -> bool {
    objects.iter().enumerate().all(|(index, one)| {
        objects[..index].iter().all(|other| {
            (0..2).any(|axis| {
                let reach = (one.size[axis] + other.size[axis]) / 2.0 + GAP;
                (one.centre[axis] - other.centre[axis]).abs() >= reach
            })
        })
    })
}

/// Pixels between an object and the canvas's edge.
const MARGIN: f32 = 1.5;
/// Pixels between two objects' boxes, so that soft edges do not join them.
const GAP: f32 = 3.0;
/// Above GenEval's 0.5, so that a slightly shifted drawing still satisfies the caption.
const CLEAR_LEAN: f32 = 0.62;
const SHRINK: f32 = 0.97;
/// A rectangle's longer side, so that the shorter keeps 5 pixels.
const RECTANGLE_MIN: f32 = 11.0;
const RECTANGLE_ASPECT: std::ops::Range<f32> = 1.6..2.2;
