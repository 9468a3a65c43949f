//! Contact sheets: pictures in a grid with what was said of them, below a title and bar charts.
//!
//! For people only; nothing is ever read back from a sheet. Letters are 8×8 pixels of the
//! public-domain font that `font8x8` carries; what it has no letter for is shown as "?".

use font8x8::legacy::BASIC_LEGACY;
use image::{Rgb, RgbImage};

use crate::picture::{PICTURE_BYTES, SIDE};
use crate::{Picture, PictureError, image_file};

/// What is to be laid out.
#[derive(Clone, Debug, Default)]
pub struct Sheet {
    /// Lines above everything.
    pub title: Vec<String>,
    /// Counts, each drawn as a bar.
    pub charts: Vec<Chart>,
    /// Pictures, row by row.
    pub tiles: Vec<Tile>,
    /// Pictures a row; zero counts as one.
    pub columns: usize,
    /// How many times each picture is enlarged; zero counts as one.
    pub scale: usize,
}

/// Counts by name, in the order in which they are drawn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chart {
    /// What is counted.
    pub title: String,
    /// Name and count.
    pub bars: Vec<(String, usize)>,
}

/// A picture and what stands below it.
#[derive(Clone, Debug)]
pub struct Tile {
    /// The picture.
    pub picture: Picture,
    /// Broken into lines at spaces; empty for nothing.
    pub text: String,
}

impl Sheet {
    /// The sheet as PNG; equal sheets give equal bytes.
    ///
    /// # Errors
    /// If a picture has not the size of pictures.
    pub fn to_png(&self) -> Result<Vec<u8>, PictureError> {
        for Tile { picture, .. } in &self.tiles {
            if picture.pixels.len() != PICTURE_BYTES {
                return Err(PictureError::Length {
                    expected: PICTURE_BYTES,
                    found: picture.pixels.len(),
                });
            }
        }
        let cell = SIDE * self.scale.max(1);
        let texts: Vec<Vec<String>> =
            self.tiles.iter().map(|tile| broken(&tile.text, cell / LETTER)).collect();
        let lines = texts.iter().map(Vec::len).max().unwrap_or(0);
        let columns = self.columns.clamp(1, self.tiles.len().max(1));
        let rows = self.tiles.len().div_ceil(columns);
        let row_height = cell + lines * LINE + GAP;
        let head = self.head_height();
        let width = (columns * (cell + GAP) + GAP).max(self.head_width());
        let height = head + rows * row_height + GAP;
        let mut canvas = Canvas(RgbImage::from_pixel(width as u32, height as u32, PAPER));
        self.draw_head(&mut canvas);
        for (index, (tile, text)) in self.tiles.iter().zip(&texts).enumerate() {
            let left = GAP + (index % columns) * (cell + GAP);
            let top = head + GAP + (index / columns) * row_height;
            canvas.picture((left, top), &tile.picture, self.scale.max(1));
            for (number, line) in text.iter().enumerate() {
                canvas.text((left, top + cell + 2 + number * LINE), line);
            }
        }
        image_file::encode(canvas.0.as_raw(), width, height)
    }

    fn draw_head(&self, canvas: &mut Canvas) {
        let mut top = GAP;
        for line in &self.title {
            canvas.text((GAP, top), line);
            top += LINE;
        }
        for Chart { title, bars } in &self.charts {
            top += LINE;
            canvas.text((GAP, top), title);
            let names = bars.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
            let most = bars.iter().map(|(_, count)| *count).max().unwrap_or(0).max(1);
            let left = GAP + (names + 1) * LETTER;
            for (name, count) in bars {
                top += LINE;
                canvas.text((GAP, top), name);
                let long = (count * BAR_WIDTH).div_ceil(most);
                canvas.fill((left, top), (long, LETTER), BAR);
                canvas.text((left + long + LETTER, top), &count.to_string());
            }
            top += LINE;
        }
    }

    fn head_height(&self) -> usize {
        let charts = self.charts.iter().map(|chart| chart.bars.len() + 3);
        (self.title.len() + charts.sum::<usize>()) * LINE
    }

    fn head_width(&self) -> usize {
        let titles = self.title.iter().chain(self.charts.iter().map(|chart| &chart.title));
        let words = titles.map(|line| line.chars().count() * LETTER).max().unwrap_or(0);
        let names = self.charts.iter().flat_map(|chart| &chart.bars);
        let names = names.map(|(name, _)| (name.chars().count() + 1) * LETTER).max();
        words.max(names.map_or(0, |name| name + BAR_WIDTH + COUNT_WIDTH)) + 2 * GAP
    }
}

/// Pixels to draw on; what lies outside is not drawn.
struct Canvas(RgbImage);

impl Canvas {
    fn set(&mut self, (x, y): (usize, usize), rgb: Rgb<u8>) {
        if let Some(pixel) = self.0.get_pixel_mut_checked(x as u32, y as u32) {
            *pixel = rgb;
        }
    }

    fn fill(&mut self, (left, top): (usize, usize), (width, height): (usize, usize), rgb: Rgb<u8>) {
        for y in top..top + height {
            (left..left + width).for_each(|x| self.set((x, y), rgb));
        }
    }

    fn picture(&mut self, (left, top): (usize, usize), picture: &Picture, scale: usize) {
        for (x, y) in (0..SIDE * scale).flat_map(|y| (0..SIDE * scale).map(move |x| (x, y))) {
            self.set((left + x, top + y), Rgb(picture.pixel(x / scale, y / scale)));
        }
    }

    fn text(&mut self, (left, top): (usize, usize), text: &str) {
        for (place, letter) in text.chars().enumerate() {
            let rows = BASIC_LEGACY.get(letter as usize).unwrap_or(&BASIC_LEGACY['?' as usize]);
            for (y, row) in rows.iter().enumerate() {
                let inked = (0..LETTER).filter(|x| row >> x & 1 == 1);
                inked.for_each(|x| self.set((left + place * LETTER + x, top + y), INK));
            }
        }
    }
}

/// Lines of at most `width` letters, broken at spaces; a longer word is cut.
fn broken(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let word: String = word.chars().take(width).collect();
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(&word);
            }
            _ => lines.push(word),
        }
    }
    lines
}

const LETTER: usize = 8;
const LINE: usize = 11;
const GAP: usize = 6;
const BAR_WIDTH: usize = 240;
const COUNT_WIDTH: usize = 8 * LETTER;
const PAPER: Rgb<u8> = Rgb([252, 252, 250]);
const INK: Rgb<u8> = Rgb([40, 40, 48]);
const BAR: Rgb<u8> = Rgb([90, 130, 180]);

#[cfg(test)]
mod tests {
    use super::*;

    fn sheet() -> Sheet {
        let tile = |text: &str| Tile { picture: Picture::plain([9; 3]), text: text.to_owned() };
        let bars = vec![("yes".to_owned(), 40), ("no".to_owned(), 1), ("été".to_owned(), 0)];
        Sheet {
            title: vec!["member 3".to_owned()],
            charts: vec![Chart { title: "answers".to_owned(), bars }],
            tiles: vec![tile("a red circle left of a star"), tile(""), tile("zyzzyva")],
            columns: 2,
            scale: 2,
        }
    }

    #[test]
    fn a_sheet_holds_every_picture_with_its_words_and_bars_as_long_as_their_counts() {
        let image = image::load_from_memory(&sheet().to_png().unwrap()).unwrap().into_rgb8();
        let count = |wanted: Rgb<u8>| image.pixels().filter(|pixel| **pixel == wanted).count();
        assert_eq!(count(Rgb([9; 3])), 3 * 128 * 128);
        assert_eq!(count(BAR), (240 + 6) * LETTER);
        assert!(count(INK) > 500, "{} pixels of ink", count(INK));
        let again = image::load_from_memory(&sheet().to_png().unwrap()).unwrap().into_rgb8();
        assert!(image == again);
    }

    #[test]
    fn words_are_broken_at_spaces_and_never_wider_than_their_picture() {
        assert_eq!(broken("a red circle left of a star", 16), ["a red circle", "left of a star"]);
        assert_eq!(broken("zyzzyvazyzzyvazyzzyva of", 8), ["zyzzyvaz", "of"]);
        assert!(broken("  ", 8).is_empty());
    }

    #[test]
    fn an_empty_sheet_is_a_picture_and_a_foreign_picture_is_refused() {
        assert!(image::load_from_memory(&Sheet::default().to_png().unwrap()).is_ok());
        let tiles = vec![Tile { picture: Picture::new(vec![0; 5]), text: String::new() }];
        let refusal = Sheet { tiles, ..Sheet::default() }.to_png().unwrap_err();
        assert!(matches!(refusal, PictureError::Length { found: 5, .. }));
    }
}
