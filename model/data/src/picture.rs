//! A picture: 64×64 RGB bytes, whatever it came from, and the file that has it whole.
//!
//! Decoding is bounded: the header's size is checked before a pixel is allocated, so a small file
//! that unfolds into gigabytes is refused. Other sizes are resized to 64×64.

use image::codecs::png::PngEncoder;
use image::imageops::{self, FilterType};
use image::{ColorType, ImageEncoder, ImageFormat, ImageReader, Limits, RgbImage};
use std::borrow::Cow;
use std::io::{BufRead, Cursor, Seek};
use std::path::Path;
use std::sync::Arc;
use thiserror::Error;

use super::{DataError, bounded};

/// Width and height of every [`Picture`], in pixels.
pub const SIDE: usize = 64;

/// Bytes of one picture.
pub const PICTURE_BYTES: usize = SIDE * SIDE * 3;

/// A 64×64 RGB picture.
#[derive(Clone, Eq)]
pub struct Picture {
    /// [`PICTURE_BYTES`] bytes: rows from the top, pixels from the left, red green blue.
    pub pixels: Vec<u8>,
    /// The file it was read from, for models that see more than 64×64.
    pub(super) file: Option<Arc<Path>>,
}

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
    #[error("a picture has {PICTURE_BYTES} bytes, found {found}")]
    Length {
        /// How many bytes it has.
        found: usize,
    },
}

impl Picture {
    /// A picture of these 64×64 RGB bytes.
    pub fn new(pixels: Vec<u8>) -> Self {
        Self { pixels, file: None }
    }

    /// As it lies in its file; one that never had a file, as it is.
    ///
    /// # Errors
    /// If the file is gone or changed to something that is no picture.
    pub fn whole(&self) -> Result<RgbImage, DataError> {
        match &self.file {
            Some(path) => decode(&self.bytes()?).map_err(|source| DataError::Image {
                image: "the picture".into(),
                path: path.to_path_buf(),
                source,
            }),
            None => {
                let pixel = |x: u32, y: u32| image::Rgb(self.pixel(x as usize, y as usize));
                Ok(RgbImage::from_fn(SIDE as u32, SIDE as u32, pixel))
            }
        }
    }

    /// The bytes of its file; its pixels if it never had one.
    ///
    /// # Errors
    /// If the file is gone, or too large.
    pub fn bytes(&self) -> Result<Cow<'_, [u8]>, DataError> {
        match &self.file {
            Some(path) => Ok(Cow::Owned(bounded::bytes(path, FILE_BYTES_MAX)?)),
            None => Ok(Cow::Borrowed(&self.pixels)),
        }
    }

    /// A picture of one colour.
    pub fn plain(rgb: [u8; 3]) -> Self {
        Self::new(rgb.repeat(SIDE * SIDE))
    }

    /// The colour of column `x` of row `y`. Panics outside the picture.
    pub fn pixel(&self, x: usize, y: usize) -> [u8; 3] {
        let at = (y * SIDE + x) * 3;
        [self.pixels[at], self.pixels[at + 1], self.pixels[at + 2]]
    }

    /// Decodes a PNG. At most 4096 pixels a side and 64 MiB of memory; other sizes are resized to
    /// 64×64.
    pub fn from_png(bytes: &[u8]) -> Result<Self, PictureError> {
        Ok(shrunk(decode_as(bytes, ImageFormat::Png)?))
    }

    /// Decodes a PNG or JPEG, told apart by their first bytes, under the limits of
    /// [`Self::from_png`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PictureError> {
        Ok(shrunk(decode(bytes)?))
    }

    /// Checks that a file begins as a PNG or JPEG under the limits of [`Self::from_png`] does. Reads
    /// the header and decodes no pixel.
    pub fn check_header(file: impl BufRead + Seek) -> Result<(), PictureError> {
        let reader = ImageReader::new(file).with_guessed_format();
        let reader = reader.map_err(image::ImageError::IoError)?;
        let Some(ImageFormat::Png | ImageFormat::Jpeg) = reader.format() else {
            return Err(PictureError::UnknownFormat);
        };
        let (width, height) = reader.into_dimensions()?;
        match width.max(height) > SOURCE_SIDE_MAX {
            true => Err(PictureError::TooWide { width, height }),
            false => Ok(()),
        }
    }

    /// Encodes as PNG; equal pictures give equal bytes.
    pub fn to_png(&self) -> Result<Vec<u8>, PictureError> {
        if self.pixels.len() != PICTURE_BYTES {
            return Err(PictureError::Length { found: self.pixels.len() });
        }
        encode(&self.pixels, SIDE, SIDE)
    }
}

/// Where it lies.
impl std::fmt::Display for Picture {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.file {
            Some(path) => write!(formatter, "{}", path.display()),
            None => formatter.write_str("a picture without a file"),
        }
    }
}

/// They show the same, wherever they come from.
impl PartialEq for Picture {
    fn eq(&self, other: &Self) -> bool {
        self.pixels == other.pixels
    }
}

impl std::fmt::Debug for Picture {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Picture({} bytes)", self.pixels.len())
    }
}

/// A PNG or JPEG of any size, under the limits of [`Picture::from_png`].
pub fn decode(bytes: &[u8]) -> Result<RgbImage, PictureError> {
    match image::guess_format(bytes) {
        Ok(format @ (ImageFormat::Png | ImageFormat::Jpeg)) => decode_as(bytes, format),
        _ => Err(PictureError::UnknownFormat),
    }
}

fn decode_as(bytes: &[u8], format: ImageFormat) -> Result<RgbImage, PictureError> {
    Picture::check_header(Cursor::new(bytes))?;
    let mut limits = Limits::default();
    limits.max_image_width = Some(SOURCE_SIDE_MAX);
    limits.max_image_height = Some(SOURCE_SIDE_MAX);
    limits.max_alloc = Some(SOURCE_BYTES_MAX);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits);
    Ok(reader.decode()?.into_rgb8())
}

fn shrunk(image: RgbImage) -> Picture {
    let side = SIDE as u32;
    let image = if image.dimensions() == (side, side) {
        image
    } else {
        imageops::resize(&image, side, side, FilterType::Triangle)
    };
    Picture::new(image.into_raw())
}

/// A PNG of rows of RGB bytes.
pub(crate) fn encode(pixels: &[u8], width: usize, height: usize) -> Result<Vec<u8>, PictureError> {
    let mut bytes = Vec::new();
    let (width, height) = (width as u32, height as u32);
    PngEncoder::new(&mut bytes).write_image(pixels, width, height, ColorType::Rgb8.into())?;
    Ok(bytes)
}

/// COCO's largest image has well under 2 MB.
pub(super) const FILE_BYTES_MAX: u64 = 16 << 20;
/// COCO pictures have at most 640 pixels a side; this leaves room for a phone's photographs.
const SOURCE_SIDE_MAX: u32 = 4096;
/// What the decoder may allocate for one picture: 4096 × 4096 × 3 is 48 MiB.
const SOURCE_BYTES_MAX: u64 = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn gradient() -> Picture {
        Picture::new((0..PICTURE_BYTES).map(|at| (at * 7 % 251) as u8).collect())
    }

    #[test]
    fn png_round_trips() {
        let picture = gradient();
        let png = picture.to_png().unwrap();
        assert_eq!(Picture::from_png(&png).unwrap(), picture);
        assert_eq!(Picture::from_bytes(&png).unwrap(), picture);
    }

    #[test]
    fn other_sizes_are_resized() {
        let png = encode(&[200; 128 * 96 * 3], 128, 96).unwrap();
        let picture = Picture::from_png(&png).unwrap();
        assert_eq!(picture, Picture::plain([200; 3]));
    }

    #[test]
    fn a_png_bomb_is_refused_before_it_is_unfolded() {
        // A valid tiny PNG whose header is changed to claim 60 000 × 60 000 pixels.
        let mut png = Picture::plain([0; 3]).to_png().unwrap();
        png[16..20].copy_from_slice(&60_000_u32.to_be_bytes());
        png[20..24].copy_from_slice(&60_000_u32.to_be_bytes());
        let checksum = crc32(&png[12..29]);
        png[29..33].copy_from_slice(&checksum.to_be_bytes());
        let refusal = Picture::from_bytes(&png).unwrap_err();
        assert!(matches!(refusal, PictureError::TooWide { width: 60_000, height: 60_000 }));
        let refusal = Picture::check_header(Cursor::new(&png)).unwrap_err();
        assert!(refusal.to_string().starts_with("60000 × 60000 pixels"), "{refusal}");
    }

    #[test]
    fn cut_or_foreign_bytes_are_refused() {
        let png = gradient().to_png().unwrap();
        assert!(Picture::from_png(&png[..png.len() / 2]).is_err());
        assert!(matches!(Picture::from_bytes(b"hello"), Err(PictureError::UnknownFormat)));
        assert!(Picture::new(vec![0; 5]).to_png().is_err());
        let header = |bytes: &[u8]| Picture::check_header(Cursor::new(bytes));
        assert!(header(&png).is_ok() && header(&png[..png.len() / 2]).is_ok());
        assert!(header(&png[..12]).is_err() && header(b"hello").is_err());
    }

    fn crc32(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0_u32, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
                if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 }
            })
        })
    }
}
