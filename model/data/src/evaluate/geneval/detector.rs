//! Finds the objects of a picture from its pixels alone.
//!
//! The background is the median of the border. What differs from it by enough is foreground;
//! touching foreground pixels are one component; a component's colour is the mean of its core, its
//! class that of the seven outlines which, stretched to its box, agrees best with its soft mask.
//! Made for drawings of a neural decoder: soft edges, slight noise and specks do not disturb it.

use std::cmp::Reverse;

use super::Found;
use crate::picture::{Picture, SIDE};
use crate::scenes::coverage;
use crate::vocabulary::{Colour, Shape};

/// The objects of a picture, largest first.
pub fn detect(picture: &Picture) -> Vec<Found> {
    let background = border_median(picture);
    let contrast = contrast(picture, background);
    let mut components = components(&contrast);
    components.sort_by_key(|component| Reverse(component.len()));
    components
        .iter()
        .take(OBJECTS_MAX)
        .filter_map(|component| recognise(picture, background, component))
        .collect()
}

/// Index of a pixel, row by row.
type Pixel = usize;

fn border_median(picture: &Picture) -> [f32; 3] {
    let last = SIDE - 1;
    let border: Vec<[u8; 3]> = (0..SIDE)
        .flat_map(|at| [(at, 0), (at, last), (0, at), (last, at)])
        .map(|(x, y)| picture.pixel(x, y))
        .collect();
    std::array::from_fn(|channel| {
        let mut values: Vec<u8> = border.iter().map(|rgb| rgb[channel]).collect();
        values.sort_unstable();
        f32::from(values[values.len() / 2])
    })
}

/// How far each pixel is from the background.
fn contrast(picture: &Picture, background: [f32; 3]) -> Vec<f32> {
    let rgb = |at: Pixel| picture.pixel(at % SIDE, at / SIDE).map(f32::from);
    (0..SIDE * SIDE).map(|at| distance(rgb(at), background)).collect()
}

/// Groups of touching foreground pixels, specks left out.
fn components(contrast: &[f32]) -> Vec<Vec<Pixel>> {
    let mut is_open: Vec<bool> = contrast.iter().map(|value| *value > FOREGROUND).collect();
    let mut components = Vec::new();
    for start in 0..is_open.len() {
        if !is_open[start] {
            continue;
        }
        is_open[start] = false;
        let (mut component, mut next) = (vec![start], 0);
        while let Some(&at) = component.get(next) {
            next += 1;
            for neighbour in neighbours(at) {
                if std::mem::take(&mut is_open[neighbour]) {
                    component.push(neighbour);
                }
            }
        }
        if component.len() >= SPECK {
            components.push(component);
        }
    }
    components
}

fn neighbours(at: Pixel) -> impl Iterator<Item = Pixel> {
    let (x, y) = (at % SIDE, at / SIDE);
    let left = (x > 0).then(|| at - 1);
    let right = (x + 1 < SIDE).then(|| at + 1);
    let up = (y > 0).then(|| at - SIDE);
    let down = (y + 1 < SIDE).then(|| at + SIDE);
    [left, right, up, down].into_iter().flatten()
}

/// One component as an object, unless it is fainter than any palette colour.
fn recognise(picture: &Picture, background: [f32; 3], component: &[Pixel]) -> Option<Found> {
    let rgb = |at: Pixel| picture.pixel(at % SIDE, at / SIDE).map(f32::from);
    let core = core_colour(picture, background, component);
    let reach = distance(core, background);
    if reach < FOREGROUND {
        return None;
    }
    // The share of the paint in each pixel: 0 is background, 1 is the core's colour.
    let direction: [f32; 3] = std::array::from_fn(|channel| core[channel] - background[channel]);
    let mut mask = vec![0.0_f32; SIDE * SIDE];
    let mut include = |at: Pixel| {
        let along = rgb(at).into_iter().zip(background).zip(direction);
        let along: f32 = along.map(|((value, base), axis)| (value - base) * axis).sum();
        mask[at] = (along / (reach * reach)).clamp(0.0, 1.0);
    };
    for &at in component {
        include(at);
        neighbours(at).for_each(&mut include);
    }
    let bounds = bounds(&mask)?;
    let (shape, confidence, fitted) = best_outline(&mask, bounds);
    let [left, top, right, bottom] = fitted;
    Some(Found {
        shape,
        colour: Colour::nearest(core),
        centre: [(left + right) / 2.0, (top + bottom) / 2.0],
        size: [right - left, bottom - top],
        confidence,
    })
}

/// The mean of the half of the component that differs most from the background: not its edge.
fn core_colour(picture: &Picture, background: [f32; 3], component: &[Pixel]) -> [f32; 3] {
    let rgb = |at: Pixel| picture.pixel(at % SIDE, at / SIDE).map(f32::from);
    let mut inside: Vec<(usize, Pixel)> = component
        .iter()
        .map(|&at| (neighbours(at).filter(|other| component.contains(other)).count(), at))
        .collect();
    inside.sort_by(|a, b| {
        let far = |at: Pixel| distance(rgb(at), background);
        b.0.cmp(&a.0).then(far(b.1).total_cmp(&far(a.1)))
    });
    inside.truncate((inside.len() / 2).max(1));
    let count = inside.len() as f32;
    std::array::from_fn(|channel| {
        inside.iter().map(|(_, at)| rgb(*at)[channel]).sum::<f32>() / count
    })
}

/// Left, top, right, bottom of the mask, to a fraction of a pixel.
fn bounds(mask: &[f32]) -> Option<[f32; 4]> {
    let column = |x: usize| (0..SIDE).map(|y| mask[y * SIDE + x]).fold(0.0, f32::max);
    let row = |y: usize| (0..SIDE).map(|x| mask[y * SIDE + x]).fold(0.0, f32::max);
    let extent = |line: &dyn Fn(usize) -> f32| {
        let first = (0..SIDE).find(|at| line(*at) > HALF)?;
        let last = (0..SIDE).rev().find(|at| line(*at) > HALF)?;
        let before = if first > 0 { line(first - 1) } else { 0.0 };
        let after = if last + 1 < SIDE { line(last + 1) } else { 0.0 };
        // The outermost pixel is partly covered, or wholly with its neighbour partly covered.
        let start = first as f32 + 1.0 - line(first) - before;
        let end = last as f32 + line(last) + after;
        Some((start, end))
    };
    let (left, right) = extent(&column)?;
    let (top, bottom) = extent(&row)?;
    Some([left, top, right, bottom])
}

/// The outline that agrees best, how well, and its box, over slightly moved edges.
fn best_outline(mask: &[f32], bounds: [f32; 4]) -> (Shape, f32, [f32; 4]) {
    let mut best = (Shape::Circle, -1.0, bounds);
    for shape in Shape::ALL {
        let mut own = (agreement(mask, shape, bounds), bounds);
        for step in STEPS {
            for edge in 0..4 {
                for moved in [-step, step] {
                    let mut tried = own.1;
                    tried[edge] += moved;
                    let score = agreement(mask, shape, tried);
                    if score > own.0 {
                        own = (score, tried);
                    }
                }
            }
        }
        let [width, height] = [own.1[2] - own.1[0], own.1[3] - own.1[1]];
        let aspect = width.max(height) / width.min(height).max(1.0);
        let is_box = matches!(shape, Shape::Square | Shape::Rectangle);
        let is_other_box = is_box && (shape == Shape::Rectangle) != (aspect > BOX_ASPECT);
        if own.0 > best.1 && !is_other_box {
            best = (shape, own.0, own.1);
        }
    }
    best
}

/// Soft intersection over union of the mask and an outline in a box.
fn agreement(mask: &[f32], shape: Shape, [left, top, right, bottom]: [f32; 4]) -> f32 {
    let size = [(right - left).max(1.0), (bottom - top).max(1.0)];
    let centre = [(left + right) / 2.0, (top + bottom) / 2.0];
    let total: f32 = mask.iter().sum();
    let (mut both, mut outline) = (0.0, 0.0);
    coverage(shape, centre, size, |x, y, share| {
        both += share.min(mask[y * SIDE + x]);
        outline += share;
    });
    both / (total + outline - both)
}

fn distance(one: [f32; 3], other: [f32; 3]) -> f32 {
    let square = |channel: usize| (one[channel] - other[channel]).powi(2);
    (square(0) + square(1) + square(2)).sqrt()
}

/// How far from the background foreground is at least; hot pink is 150 from the darkest canvas.
const FOREGROUND: f32 = 56.0;
/// Fewer pixels are noise; the smallest object, a star of 8 pixels, covers 23.
const SPECK: usize = 10;
/// More objects than any prompt counts are not looked at.
const OBJECTS_MAX: usize = 12;
const HALF: f32 = 0.5;
/// By how many pixels the edges of the box are moved in search of the best fit.
const STEPS: [f32; 2] = [0.6, 0.3];
/// From here on a box is a rectangle: between a square's 1 and a rectangle's 1.5.
const BOX_ASPECT: f32 = 1.25;
