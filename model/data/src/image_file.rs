//! PNG and JPEG files: decoded within bounds, encoded canonically.
//!
//! The header's size is checked before a pixel is allocated: a decompression bomb is refused.

use std::io::{BufRead, Cursor, Seek};

use image::codecs::png::PngEncoder;
use image::{ColorType, ImageEncoder, ImageFormat, ImageReader, Limits, RgbImage};
use thiserror::Error;

/// Why bytes did not become a picture, or a picture no bytes.
#[derive(Debug, Error)]
pub enum PictureError {
    /// The decoder refused: not a PNG or JPEG, cut, damaged or over the size limits.
    #[error("not a readable png or jpeg of at most {SOURCE_SIDE_MAX} pixels a side")]
    Unreadable(#[from] image::ImageError),
    /// The header says that the picture is larger than any that is read.
    #[error("{width} × {height} pixels, at most {SOURCE_SIDE_MAX} a side are read")]
    TooWide {
        /// Pixels a row.
        width: u32,
        /// Rows.
        height: u32,
    },
    /// The bytes are no known image format.
    #[error("not a png or jpeg file")]
    UnknownFormat,
    /// The picture does not have 64×64×3 bytes.
    #[error("a picture has {expected} bytes, found {found}")]
    Length {
        /// How many it should have.
        expected: usize,
        /// How many bytes it has.
        found: usize,
    },
}

/// Checks that a file begins as a PNG or JPEG under the limits of [`decode`] does. Reads
/// the header and decodes no pixel.
pub fn check_header(file: impl BufRead + Seek) -> Result<(), PictureError> {
    let (width, height) = reader(file)?.into_dimensions()?;
    match width.max(height) > SOURCE_SIDE_MAX {
        true => Err(PictureError::TooWide { width, height }),
        false => Ok(()),
    }
}

/// A PNG or JPEG of any size: at most 4096 pixels a side and 64 MiB of memory.
pub fn decode(bytes: &[u8]) -> Result<RgbImage, PictureError> {
    check_header(Cursor::new(bytes))?;
    let mut limits = Limits::default();
    limits.max_image_width = Some(SOURCE_SIDE_MAX);
    limits.max_image_height = Some(SOURCE_SIDE_MAX);
    limits.max_alloc = Some(SOURCE_BYTES_MAX);
    let mut reader = reader(Cursor::new(bytes))?;
    reader.limits(limits);
    Ok(reader.decode()?.into_rgb8())
}

fn reader<R: BufRead + Seek>(file: R) -> Result<ImageReader<R>, PictureError> {
    let reader = ImageReader::new(file).with_guessed_format();
    let reader = reader.map_err(image::ImageError::IoError)?;
    match reader.format() {
        Some(ImageFormat::Png | ImageFormat::Jpeg) => Ok(reader),
        _ => Err(PictureError::UnknownFormat),
    }
}

/// A PNG of rows of RGB bytes.
pub(crate) fn encode(pixels: &[u8], width: usize, height: usize) -> Result<Vec<u8>, PictureError> {
    let mut bytes = Vec::new();
    let (width, height) = (width as u32, height as u32);
    PngEncoder::new(&mut bytes).write_image(pixels, width, height, ColorType::Rgb8.into())?;
    Ok(bytes)
}

/// COCO pictures have at most 640 pixels a side; this leaves room for a phone's photographs.
const SOURCE_SIDE_MAX: u32 = 4096;
/// What the decoder may allocate for one picture: 4096 × 4096 × 3 is 48 MiB.
const SOURCE_BYTES_MAX: u64 = 64 << 20;
