//! Paints a scene: each pixel's share of each object, then a blend.
//!
//! Shapes are polygons (and one ellipse) in the unit box, stretched to the object's box. Coverage
//! is exact along x, sampled four times along y. The detector's templates are the same outlines.

use super::{SIDE, Scene};
use crate::picture::{self, Picture};
use crate::vocabulary::Shape;

impl Scene {
    /// The scene as pixels, edges anti-aliased.
    pub fn picture(&self) -> Picture {
        let mut pixels: Vec<f32> =
            self.background.map(f32::from).repeat(picture::SIDE * picture::SIDE);
        for object in &self.objects {
            let rgb = object.rgb.map(f32::from);
            coverage(object.shape, object.centre, object.size, |x, y, share| {
                let at = (y * picture::SIDE + x) * 3;
                for (pixel, paint) in pixels[at..at + 3].iter_mut().zip(rgb) {
                    *pixel += share * (paint - *pixel);
                }
            });
        }
        Picture::new(pixels.into_iter().map(|value| value.round() as u8).collect())
    }
}

/// Calls `paint(x, y, share)` for every canvas pixel that the shape covers, share above 0 up to 1.
///
/// `centre` and `size` are the box in pixels; what lies outside the canvas is cut off.
pub fn coverage(
    shape: Shape,
    centre: [f32; 2],
    size: [f32; 2],
    mut paint: impl FnMut(usize, usize, f32),
) {
    let top = (centre[1] - size[1] / 2.0).floor().clamp(0.0, SIDE) as usize;
    let bottom = (centre[1] + size[1] / 2.0).ceil().clamp(0.0, SIDE) as usize;
    let mut crossings = Vec::with_capacity(8);
    for y in top..bottom {
        let mut row = [0.0_f32; picture::SIDE];
        for sample in 0..ROW_SAMPLES {
            let line = y as f32 + (sample as f32 + 0.5) / ROW_SAMPLES as f32;
            cross(shape, (line - centre[1]) / size[1], &mut crossings);
            for span in crossings.chunks_exact(2) {
                let ends = [span[0], span[1]].map(|x| (x * size[0] + centre[0]).clamp(0.0, SIDE));
                cover(&mut row, ends);
            }
        }
        for (x, sum) in row.into_iter().enumerate() {
            if sum > 0.0 {
                paint(x, y, (sum / ROW_SAMPLES as f32).min(1.0));
            }
        }
    }
}

/// Where the outline crosses the horizontal `line` of the unit box, in pairs from left to right.
fn cross(shape: Shape, line: f32, crossings: &mut Vec<f32>) {
    crossings.clear();
    let corners: &[[f32; 2]] = match shape {
        Shape::Circle => {
            if line.abs() < 0.5 {
                let half = (0.25 - line * line).sqrt();
                crossings.extend([-half, half]);
            }
            return;
        }
        Shape::Square | Shape::Rectangle => &BOX,
        Shape::Triangle => &TRIANGLE,
        Shape::Diamond => &DIAMOND,
        Shape::Star => &STAR,
        Shape::Cross => &CROSS,
    };
    for (index, from) in corners.iter().enumerate() {
        let to = corners[(index + 1) % corners.len()];
        if (from[1] <= line) != (to[1] <= line) {
            crossings.push(from[0] + (line - from[1]) / (to[1] - from[1]) * (to[0] - from[0]));
        }
    }
    crossings.sort_by(f32::total_cmp);
}

fn cover(row: &mut [f32], [left, right]: [f32; 2]) {
    let (first, last) = (left.floor() as usize, right.ceil() as usize);
    for (x, pixel) in row.iter_mut().enumerate().take(last).skip(first) {
        *pixel += (right.min(x as f32 + 1.0) - left.max(x as f32)).max(0.0);
    }
}

const ROW_SAMPLES: usize = 4;
const BOX: [[f32; 2]; 4] = [[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]];
const TRIANGLE: [[f32; 2]; 3] = [[0.0, -0.5], [0.5, 0.5], [-0.5, 0.5]];
const DIAMOND: [[f32; 2]; 4] = [[0.0, -0.5], [0.5, 0.0], [0.0, 0.5], [-0.5, 0.0]];
/// Half the width of a cross's bar.
const BAR: f32 = 0.17;
const CROSS: [[f32; 2]; 12] = [
    [-BAR, -0.5],
    [BAR, -0.5],
    [BAR, -BAR],
    [0.5, -BAR],
    [0.5, BAR],
    [BAR, BAR],
    [BAR, 0.5],
    [-BAR, 0.5],
    [-BAR, BAR],
    [-0.5, BAR],
    [-0.5, -BAR],
    [-BAR, -BAR],
];
/// A pentagram's points with the inner corners at 0.45 of the outer radius, scaled to the unit box.
const STAR: [[f32; 2]; 10] = [
    [0.0, -0.5],
    [0.13905, -0.14846],
    [0.5, -0.11803],
    [0.225, 0.12965],
    [0.30902, 0.5],
    [0.0, 0.30154],
    [-0.30902, 0.5],
    [-0.225, 0.12965],
    [-0.5, -0.11803],
    [-0.13905, -0.14846],
];
