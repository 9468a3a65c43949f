//! BLIP3o's prompts: ChatML, and the positions of a picture's tokens in it.

use crate::families::language::rows::Place;

/// A prompt. Where it is cut stands a special token, so that the tokens of the parts are
/// those of the whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    /// Up to the user's text.
    pub before: String,
    /// The user's text, and the words around it.
    pub said: String,
    /// What follows.
    pub after: String,
}

impl Prompt {
    /// All of it.
    pub fn whole(&self) -> String {
        [&self.before[..], &self.said, &self.after].concat()
    }
}

/// A question about a picture of `tokens` tokens, as BLIP3o is evaluated on VQA.
pub fn question(question: &str, tokens: usize) -> Prompt {
    let picture = format!("{VISION_START}{}{VISION_END}", IMAGE_PAD.repeat(tokens));
    Prompt {
        before: format!("{SYSTEM}{START}user\n{picture}"),
        said: format!("{question}\nAnswer the question using a single word or phrase."),
        after: ANSWER.to_owned(),
    }
}

/// A caption to draw; the image queries follow.
pub fn caption(caption: &str) -> Prompt {
    let wish = "Please generate image based on the following caption:";
    Prompt {
        before: format!("{SYSTEM}{START}"),
        said: format!("user\n{wish} {caption}"),
        after: format!("{ANSWER}{DRAW}"),
    }
}

/// Where the tokens of a text with one picture of `grid` tokens stand, as Qwen2.5-VL counts: the
/// text after a picture goes on behind the picture's longer side.
pub(super) fn places(text: &[u32], image: u32, grid: [usize; 2]) -> Vec<Place> {
    let [_, columns] = grid;
    let (mut next, mut seen) = (0, 0);
    let mut places = Vec::with_capacity(text.len());
    for token in text {
        if *token == image {
            let (row, column) = (seen / columns, seen % columns);
            places.push([next, next + row as u32, next + column as u32]);
            seen += 1;
            if seen == grid[0] * columns {
                next += grid[0].max(columns) as u32;
            }
        } else {
            places.push([next; 3]);
            next += 1;
        }
    }
    places
}

/// The turn before the user's.
const SYSTEM: &str = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n";
/// Ends the user's turn and begins the model's.
const ANSWER: &str = "<|im_end|>\n<|im_start|>assistant\n";
/// Begins a turn.
const START: &str = "<|im_start|>";
/// Ends a turn.
pub const END: &str = "<|im_end|>";
/// Asks for a drawing.
const DRAW: &str = "[IMG]";
const VISION_START: &str = "<|vision_start|>";
const VISION_END: &str = "<|vision_end|>";
const IMAGE_PAD: &str = "<|image_pad|>";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_goes_on_behind_the_longer_side_of_a_picture() {
        let found = places(&[7, 9, 9, 9, 9, 9, 9, 7, 7], 9, [2, 3]);
        let picture = [[1, 1, 1], [1, 1, 2], [1, 1, 3], [1, 2, 1], [1, 2, 2], [1, 2, 3]];
        assert_eq!(found[0], [0; 3]);
        assert_eq!(found[1..7], picture);
        assert_eq!(found[7..], [[4; 3], [5; 3]]);
    }
}
