//! Batches for the language model.

/// Where a position stands: time, row and column of a picture; of text all three are equal.
pub type Place = [u32; 3];

/// Rows of tokens, pictures and image queries, padded on the left to one length.
pub struct Rows {
    /// Tokens below the vocabulary's size, numbers of other rows above.
    pub(super) slots: Vec<i32>,
    pub(super) padding: Vec<usize>,
    pub(super) length: usize,
    /// Where every position behind the padding stands, if not one after the other.
    pub(super) places: Option<Vec<Vec<Place>>>,
}

impl Rows {
    /// Rows that read a picture, then a text: `[picture] text`.
    ///
    /// Row `i` reads picture `i` of the batch, whose `tokens` slots follow the vocabulary's.
    pub fn behind_pictures(texts: &[&[u32]], vocab_size: usize, tokens: usize) -> Rows {
        let row = |(index, text): (usize, &&[u32])| {
            let first = vocab_size + index * tokens;
            let picture = (first..first + tokens).map(|slot| slot as i32);
            picture.chain(text.iter().map(|token| *token as i32)).collect()
        };
        Rows::padded(texts.iter().enumerate().map(row).collect())
    }

    /// Rows that end with the same `count` slots behind the vocabulary's: `text [queries]`.
    pub fn before_queries(texts: &[&[u32]], vocab_size: usize, count: usize) -> Rows {
        let row = |text: &&[u32]| {
            let queries = (vocab_size..vocab_size + count).map(|slot| slot as i32);
            text.iter().map(|token| *token as i32).chain(queries).collect()
        };
        Rows::padded(texts.iter().map(row).collect())
    }

    /// Rows of slots: tokens below the vocabulary's size, numbers of other rows above.
    pub fn padded(rows: Vec<Vec<i32>>) -> Rows {
        let length = rows.iter().map(Vec::len).max().unwrap_or(0);
        let padding: Vec<usize> = rows.iter().map(|row| length - row.len()).collect();
        let padded = rows.iter().zip(&padding);
        let slots =
            padded.flat_map(|(row, pad)| vec![0; *pad].into_iter().chain(row.iter().copied()));
        Rows { slots: slots.collect(), padding, length, places: None }
    }

    /// The same with the place of every position of every row, which is as long as the row.
    pub fn placed(self, places: Vec<Vec<Place>>) -> Rows {
        Rows { places: Some(places), ..self }
    }

    /// The slots behind the first `count` positions of every row.
    ///
    /// Panics unless there are some.
    pub(super) fn after(&self, count: usize) -> Rows {
        assert!(count < self.length, "nothing to read behind position {count}");
        let rows = self.slots.chunks_exact(self.length);
        let slots = rows.flat_map(|row| &row[count..]).copied().collect();
        let padding = self.padding.iter().map(|pad| pad.saturating_sub(count)).collect();
        Rows { slots, padding, length: self.length - count, places: None }
    }

    /// How many rows there are, and how long they are with their padding.
    pub fn shape(&self) -> [usize; 2] {
        [self.padding.len(), self.length]
    }

    /// The slots `[rows, length]` and the padding of every row, as numbers, and that shape.
    pub(crate) fn numbers(&self) -> ([Vec<f32>; 2], [usize; 2]) {
        let slots = self.slots.iter().map(|slot| *slot as f32).collect();
        let padding = self.padding.iter().map(|pad| *pad as f32).collect();
        ([slots, padding], self.shape())
    }
}
