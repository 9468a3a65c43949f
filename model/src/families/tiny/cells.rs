//! What one cell of the semantic grid says: the space in which pictures are generated.
//!
//! A picture is an 8 by 8 grid of cells. Each cell tells whether an object covers it, which shape
//! and colour that object has, where its centre lies from here, how large it is, and the
//! background. The vision encoder reads cells off pixels, the diffusion transformer generates them,
//! the painter turns them into pixels.

use std::ops::Range;

/// Shape classes a cell can tell apart.
pub const SHAPE_CLASSES: usize = 7;
/// Whether an object covers the cell.
pub const OCCUPANCY: Range<usize> = 0..1;
/// One share per shape class.
pub const SHAPE: Range<usize> = 1..1 + SHAPE_CLASSES;
/// The object's red, green and blue, in 0..1.
pub const COLOUR: Range<usize> = SHAPE.end..SHAPE.end + 3;
/// The way from the cell's centre to the object's, right and down, in [`LENGTH_UNIT`]s.
pub const OFFSET: Range<usize> = COLOUR.end..COLOUR.end + 2;
/// The object's width and height, in [`LENGTH_UNIT`]s.
pub const SIZE: Range<usize> = OFFSET.end..OFFSET.end + 2;
/// The background's red, green and blue, in 0..1.
pub const BACKGROUND: Range<usize> = SIZE.end..SIZE.end + 3;
/// Channels of one cell.
pub const CHANNELS: usize = BACKGROUND.end;
/// Pixels that lengths are counted in.
pub const LENGTH_UNIT: f32 = 16.0;
/// Pixels along one side of every picture.
pub const PICTURE_SIDE: usize = 64;
/// Cells along one side of the semantic grid.
pub const GRID_SIDE: usize = 8;
/// Cells of the semantic grid.
pub const GRID_CELLS: usize = GRID_SIDE * GRID_SIDE;
/// Pixels along one side of one cell.
pub const CELL_PIXELS: usize = PICTURE_SIDE / GRID_SIDE;
/// Cells merged along one side into one token of the language model, and into one token of the
/// diffusion model.
pub const MERGE: usize = 2;
/// Picture tokens the language model reads, and tokens the diffusion model denoises.
pub const PICTURE_TOKENS: usize = GRID_CELLS / (MERGE * MERGE);
