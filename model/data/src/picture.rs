//! A picture: 64×64 RGB bytes, whatever it came from, and the file that has it whole.
//!
//! Other sizes are resized to 64×64.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use image::RgbImage;
use image::imageops::{self, FilterType};

use super::bounded;
use super::error::{DataError, Problem};
use super::image_file::{PictureError, decode, encode};

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
            Some(path) => Ok(decode(&self.bytes()?).map_err(|source| Problem::Image {
                image: "the picture".into(),
                path: path.to_path_buf(),
                source,
            })?),
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

    /// Decodes a PNG or JPEG, told apart by their first bytes. At most 4096 pixels a side and
    /// 64 MiB of memory; other sizes are resized to 64×64.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PictureError> {
        Ok(shrunk(decode(bytes)?))
    }

    /// Encodes as PNG; equal pictures give equal bytes.
    pub fn to_png(&self) -> Result<Vec<u8>, PictureError> {
        if self.pixels.len() != PICTURE_BYTES {
            return Err(PictureError::Length { expected: PICTURE_BYTES, found: self.pixels.len() });
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

fn shrunk(image: RgbImage) -> Picture {
    let side = SIDE as u32;
    let image = if image.dimensions() == (side, side) {
        image
    } else {
        imageops::resize(&image, side, side, FilterType::Triangle)
    };
    Picture::new(image.into_raw())
}

/// COCO's largest image has well under 2 MB.
pub(super) const FILE_BYTES_MAX: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::image_file::check_header;

    fn gradient() -> Picture {
        Picture::new((0..PICTURE_BYTES).map(|at| (at * 7 % 251) as u8).collect())
    }

    #[test]
    fn png_round_trips() {
        let picture = gradient();
        let png = picture.to_png().unwrap();
        assert_eq!(Picture::from_bytes(&png).unwrap(), picture);
    }

    #[test]
    fn other_sizes_are_resized() {
        let png = encode(&[200; 128 * 96 * 3], 128, 96).unwrap();
        let picture = Picture::from_bytes(&png).unwrap();
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
        let refusal = check_header(Cursor::new(&png)).unwrap_err();
        assert!(refusal.to_string().starts_with("60000 × 60000 pixels"), "{refusal}");
    }

    #[test]
    fn cut_or_foreign_bytes_are_refused() {
        let png = gradient().to_png().unwrap();
        assert!(Picture::from_bytes(&png[..png.len() / 2]).is_err());
        assert!(matches!(Picture::from_bytes(b"hello"), Err(PictureError::UnknownFormat)));
        assert!(Picture::new(vec![0; 5]).to_png().is_err());
        let header = |bytes: &[u8]| check_header(Cursor::new(bytes));
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
