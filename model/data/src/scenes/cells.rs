//! Dense labels: what each of the 8×8 cells of a picture shows, to pre-train the vision encoder.
//!
//! They come from the renderer and only train an encoder that sees pixels. No score reads them.

use super::Scene;
use super::render::coverage;
use crate::picture::SIDE;
use crate::vocabulary::Shape;

/// Cells along a side; a cell is 8×8 pixels.
pub const CELLS: usize = 8;

/// What one cell shows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cell {
    /// Whether an object owns the cell: the one that covers most of it, if it covers an eighth of
    /// it or has its centre there.
    pub is_occupied: bool,
    /// The share of the cell that the owner covers, 0 to 1; 0 where nothing owns it.
    pub coverage: f32,
    /// The owner's shape.
    pub shape: Option<Shape>,
    /// The owner's paint, or the background where nothing owns it; each channel 0 to 1.
    pub rgb: [f32; 3],
    /// From the cell's middle to the owner's centre: x, y in widths of the canvas; 0 where none.
    pub offset: [f32; 2],
    /// The owner's box: width, height in widths of the canvas; 0 where none.
    pub size: [f32; 2],
}

impl Scene {
    /// The labels of the 8×8 cells, `[row][column]` from the top left.
    pub fn cells(&self) -> [[Cell; CELLS]; CELLS] {
        let empty = Cell {
            is_occupied: false,
            coverage: 0.0,
            shape: None,
            rgb: self.background.map(|channel| f32::from(channel) / 255.0),
            offset: [0.0; 2],
            size: [0.0; 2],
        };
        let mut cells = [[empty; CELLS]; CELLS];
        for object in &self.objects {
            let mut shares = [[0.0_f32; CELLS]; CELLS];
            coverage(object.shape, object.centre, object.size, |x, y, share| {
                shares[y / CELL][x / CELL] += share / (CELL * CELL) as f32;
            });
            let home = object.centre.map(|at| (at as usize / CELL).min(CELLS - 1));
            for (row, line) in shares.into_iter().enumerate() {
                for (column, share) in line.into_iter().enumerate() {
                    let cell = &mut cells[row][column];
                    let is_owner = share >= OWNED || (share > 0.0 && home == [column, row]);
                    if !is_owner || share <= cell.coverage {
                        continue;
                    }
                    let middle = [column, row].map(|at| (at as f32 + 0.5) * CELL as f32);
                    let offset = [0, 1].map(|axis| object.centre[axis] - middle[axis]);
                    *cell = Cell {
                        is_occupied: true,
                        coverage: share,
                        shape: Some(object.shape),
                        rgb: object.rgb.map(|channel| f32::from(channel) / 255.0),
                        offset: offset.map(|pixels| pixels / SIDE as f32),
                        size: object.size.map(|pixels| pixels / SIDE as f32),
                    };
                }
            }
        }
        cells
    }
}

const CELL: usize = SIDE / CELLS;
/// The share of a cell from which an object owns it.
const OWNED: f32 = 0.125;
