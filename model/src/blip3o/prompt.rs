//! What BLIP3o is told: ChatML, and where the tokens of a picture stand in it.

use crate::umm::rows::Place;

/// A question about a picture of `tokens` tokens, as BLIP3o is evaluated on VQA.
pub fn question(question: &str, tokens: usize) -> String {
    let picture = format!("{VISION_START}{}{VISION_END}", IMAGE_PAD.repeat(tokens));
    chat(&format!("{picture}{question}\nAnswer the question using a single word or phrase."))
}

/// A caption to draw; the image queries follow.
pub fn caption(caption: &str) -> String {
    let wish = format!("Please generate image based on the following caption: {caption}");
    format!("{}{DRAW}", chat(&wish))
}

fn chat(user: &str) -> String {
    format!(
        "{START}system\nYou are a helpful assistant.{END}\n{START}user\n{user}{END}\n{START}assistant\n"
    )
}

/// Where the tokens of a text with one picture of `grid` tokens stand, as Qwen2.5-VL counts: the text after a picture
/// goes on behind the picture's longer side.
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
