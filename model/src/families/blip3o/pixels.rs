//! Pictures as BLIP3o's encoders read them, to the last bit of PIL's bicubic.
//!
//! For questions Qwen2.5-VL's processor: sides of whole tokens, pixels within bounds, patches of
//! one token side by side. For targets EVA-CLIP's: the short side made to fit, the middle cut out.

use std::io::ErrorKind;
use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use image::RgbImage;
use serde::Deserialize;

use crate::families::blip3o::vision::QwenVisionConfig;

/// A picture cut into patches: `[rows * columns, colours * frames * patch * patch]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Patches {
    /// The values, those of one token side by side.
    pub values: Vec<f32>,
    /// Rows and columns of patches.
    pub grid: [usize; 2],
}

/// How many pixels a picture is brought to: `preprocessor_config.json` of a Qwen2.5-VL model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct PixelBounds {
    /// At least.
    pub min_pixels: usize,
    /// At most.
    pub max_pixels: usize,
}

impl Default for PixelBounds {
    /// Those BLIP3o is evaluated with on VQA.
    fn default() -> PixelBounds {
        PixelBounds { min_pixels: 256 * 28 * 28, max_pixels: 1_605_632 }
    }
}

impl PixelBounds {
    fn checked(self) -> Result<PixelBounds, BoundsError> {
        let PixelBounds { min_pixels, max_pixels } = self;
        match min_pixels <= max_pixels && (1..=PIXELS_MAX).contains(&max_pixels) {
            true => Ok(self),
            false => Err(BoundsError::Range { min_pixels, max_pixels }),
        }
    }

    /// Those of a folder's `preprocessor_config.json`; the usual ones if there is none.
    pub fn of(folder: &Path) -> Result<PixelBounds, BoundsError> {
        let path = folder.join("preprocessor_config.json");
        match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice::<PixelBounds>(&bytes)?.checked(),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(PixelBounds::default()),
            Err(error) => Err(BoundsError::File(error)),
        }
    }
}

/// Why a folder's bounds for the pixels of a picture cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BoundsError {
    /// The file could not be read.
    #[error("cannot access preprocessor_config.json: {0}")]
    File(#[source] std::io::Error),
    /// It is not what it should be.
    #[error("preprocessor_config.json is malformed: {0}")]
    Json(#[from] serde_json::Error),
    /// No picture can be brought to such a number of pixels.
    #[error(
        "preprocessor_config.json: min_pixels {min_pixels}, max_pixels {max_pixels}: expected the \
         first to be at most the second, and that from 1 to {PIXELS_MAX}"
    )]
    Range {
        /// At least.
        min_pixels: usize,
        /// At most.
        max_pixels: usize,
    },
}

/// Why a picture cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{width} by {height} pixels: one side is more than 200 times the other")]
pub struct TooLong {
    width: usize,
    height: usize,
}

impl Patches {
    /// Cuts a picture up for the encoder.
    pub fn of(
        picture: &RgbImage,
        bounds: PixelBounds,
        config: &QwenVisionConfig,
    ) -> Result<Patches, TooLong> {
        let QwenVisionConfig { patch_size: side, spatial_merge_size: merge, .. } = *config;
        let [height, width] = whole_tokens(picture, bounds, side * merge)?;
        let resized = bicubic(picture, [height, width]);
        let [rows, columns] = [height / side, width / side];
        let mut values = Vec::with_capacity(3 * config.temporal_patch_size * height * width);
        for token in 0..rows * columns / (merge * merge) {
            for patch in 0..merge * merge {
                let row = token / (columns / merge) * merge + patch / merge;
                let column = token % (columns / merge) * merge + patch % merge;
                for colour in 0..3 {
                    let at = values.len();
                    for y in row * side..(row + 1) * side {
                        let xs = column * side..(column + 1) * side;
                        values.extend(xs.map(|x| normalised(&resized, [x, y], colour)));
                    }
                    // A picture is a film of equal frames.
                    for _ in 1..config.temporal_patch_size {
                        values.extend_from_within(at..at + side * side);
                    }
                }
            }
        }
        Ok(Patches { values, grid: [rows, columns] })
    }

    /// A picture of one colour, `side` tokens a side.
    pub fn plain(config: &QwenVisionConfig, side: usize) -> Patches {
        let grid = [side * config.spatial_merge_size; 2];
        let one = 3 * config.temporal_patch_size * config.patch_size.pow(2);
        Patches { values: vec![0.5; grid[0] * grid[1] * one], grid }
    }

    /// Tokens of the language model.
    pub fn token_count(&self, config: &QwenVisionConfig) -> usize {
        self.grid[0] * self.grid[1] / config.spatial_merge_size.pow(2)
    }

    /// The values on a device: `[patches, values of one]`.
    pub fn tensor(&self, device: &Device) -> Tensor<2> {
        let patches = self.grid[0] * self.grid[1];
        let shape = [patches, self.values.len() / patches];
        Tensor::from_data(TensorData::new(self.values.clone(), shape), device)
    }
}

/// The middle of a picture as EVA-CLIP reads it: `[1, 3, side, side]`.
///
/// # Errors
/// If one side is far longer than the other.
pub fn middle(picture: &RgbImage, side: usize, device: &Device) -> Result<Tensor<4>, TooLong> {
    let [height, width] = sides(picture)?;
    let short = height.min(width);
    let resized = bicubic(picture, [height * side / short, width * side / short]);
    let cut = |length: usize| ((length - side) as f64 / 2.0).round_ties_even() as usize;
    let [top, left] = [cut(height * side / short), cut(width * side / short)];
    let values: Vec<f32> = (0..3 * side * side)
        .map(|at| {
            let (colour, y, x) = (at / (side * side), at / side % side, at % side);
            normalised(&resized, [left + x, top + y], colour)
        })
        .collect();
    Ok(Tensor::from_data(TensorData::new(values, [1, 3, side, side]), device))
}

/// Height and width.
fn sides(picture: &RgbImage) -> Result<[usize; 2], TooLong> {
    let [height, width] = [picture.height() as usize, picture.width() as usize];
    match height.max(width) > 200 * height.min(width) || height == 0 {
        true => Err(TooLong { width, height }),
        false => Ok([height, width]),
    }
}

/// Height and width in whole tokens of `unit` pixels, within the bounds if they can be.
fn whole_tokens(
    picture: &RgbImage,
    PixelBounds { min_pixels, max_pixels }: PixelBounds,
    unit: usize,
) -> Result<[usize; 2], TooLong> {
    let sides = sides(picture)?.map(|side| side as f64);
    let (area, unit) = (sides[0] * sides[1], unit as f64);
    let nearest = sides.map(|side| (side / unit).round_ties_even() * unit);
    let pixels = nearest[0] * nearest[1];
    let sides = if pixels > max_pixels as f64 {
        let shrink = (area / max_pixels as f64).sqrt();
        sides.map(|side| ((side / shrink / unit).floor() * unit).max(unit))
    } else if pixels < min_pixels as f64 {
        let grow = (min_pixels as f64 / area).sqrt();
        sides.map(|side| (side * grow / unit).ceil() * unit)
    } else {
        nearest
    };
    Ok(sides.map(|side| side as usize))
}

fn normalised(picture: &RgbImage, [x, y]: [usize; 2], colour: usize) -> f32 {
    let value = f32::from(picture.get_pixel(x as u32, y as u32).0[colour]) / 255.0;
    (value - MEAN[colour]) / DEVIATION[colour]
}

/// Resizes as PIL does: across, then down, each time rounded to bytes; weights are whole 2⁻²²s.
fn bicubic(picture: &RgbImage, [height, width]: [usize; 2]) -> RgbImage {
    let [old_height, old_width] = [picture.height() as usize, picture.width() as usize];
    let across = weights(old_width, width);
    let down = weights(old_height, height);
    let wide = RgbImage::from_fn(width as u32, old_height as u32, |x, y| {
        blend(&across[x as usize], |at| picture.get_pixel(at as u32, y).0)
    });
    RgbImage::from_fn(width as u32, height as u32, |x, y| {
        blend(&down[y as usize], |at| wide.get_pixel(x, at as u32).0)
    })
}

/// Of one pixel: the first it is made of, and what each counts.
type Blend = (usize, Vec<i64>);

fn blend((first, weights): &Blend, pixel: impl Fn(usize) -> [u8; 3]) -> image::Rgb<u8> {
    let mut sums = [HALF; 3];
    for (at, weight) in weights.iter().enumerate() {
        for (sum, value) in sums.iter_mut().zip(pixel(first + at)) {
            *sum += i64::from(value) * weight;
        }
    }
    image::Rgb(sums.map(|sum| (sum >> PRECISION).clamp(0, 255) as u8))
}

fn weights(old: usize, new: usize) -> Vec<Blend> {
    if old == new {
        return (0..new).map(|at| (at, vec![1 << PRECISION])).collect();
    }
    let scale = old as f64 / new as f64;
    let wide = scale.max(1.0);
    let support = 2.0 * wide;
    let of = |at: usize| {
        let centre = (at as f64 + 0.5) * scale;
        let first = (centre - support + 0.5).max(0.0) as usize;
        let end = ((centre + support + 0.5) as usize).min(old);
        let shares: Vec<f64> =
            (first..end).map(|pixel| cubic((pixel as f64 - centre + 0.5) / wide)).collect();
        let sum: f64 = shares.iter().sum();
        let fixed = |share: &f64| (share / sum * (1_i64 << PRECISION) as f64).round() as i64;
        (first, shares.iter().map(fixed).collect())
    };
    (0..new).map(of).collect()
}

/// Keys' kernel with a = -1/2.
fn cubic(x: f64) -> f64 {
    match x.abs() {
        x if x < 1.0 => (1.5 * x - 2.5) * x * x + 1.0,
        x if x < 2.0 => ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0,
        _ => 0.0,
    }
}

/// Ten times those of Qwen2.5-VL's own bounds.
const PIXELS_MAX: usize = 1 << 27;
/// Bits of a weight behind the point.
const PRECISION: u32 = 22;
const HALF: i64 = 1 << (PRECISION - 1);
/// CLIP's, of red, green and blue.
const MEAN: [f32; 3] = [0.481_454_66, 0.457_827_5, 0.408_210_73];
const DEVIATION: [f32; 3] = [0.268_629_54, 0.261_302_6, 0.275_777_1];
