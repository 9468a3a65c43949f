//! Reads image and caption pairs: JSON lines such as `{"image": "a.png", "caption": "a red cat"}`.
//!
//! Images lie relative to the file's folder. A line may add `"prompt"`, a rule in GenEval's schema
//! that a drawing of the caption must satisfy; a caption without one is trained on and never
//! scored. Every tenth image, in the order of first mention, is held out with all its captions.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::catalogue::{Catalogue, Image};
use super::error::Problem;
use super::vocabulary::has_new_word;
use super::vqa_v2::Split;
use super::{CaptionExample, DataError, bounded};
use crate::prompt::Prompt;

/// A line of the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pair {
    image: PathBuf,
    caption: String,
    #[serde(default)]
    prompt: Option<Prompt>,
}

/// Reads one side of the file: what is trained on, or what is held out.
///
/// # Errors
/// Whatever is wrong with the file, an undecodable image apart.
pub fn read(path: &Path, split: Split) -> Result<Catalogue, DataError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    // The images met so far: on which side, and their place there.
    let mut met: BTreeMap<PathBuf, (Split, usize)> = BTreeMap::new();
    let mut catalogue = Catalogue::default();
    for (line, Pair { image, caption, prompt }) in bounded::some_json_lines(path)? {
        if caption.trim().is_empty() {
            return Err(Problem::NoCaption { path: path.to_owned(), line }.into());
        }
        let (side, picture) = match met.get(&image) {
            Some(known) => *known,
            None => {
                let file = folder.join(&image);
                if !file.is_file() {
                    let path = path.to_owned();
                    return Err(Problem::NoImageFile { path, line, image: file }.into());
                }
                let side = match (met.len() + 1).is_multiple_of(HELD_OUT_EVERY) {
                    true => Split::Val,
                    false => Split::Train,
                };
                let place = (side, catalogue.images.len());
                if side == split {
                    let name = format!("{}, line {line}: the image", path.display());
                    catalogue.images.push(Image { name, path: file });
                }
                met.insert(image, place);
                place
            }
        };
        if side == split {
            let is_new = has_new_word(&caption);
            catalogue.captions.push(CaptionExample { picture, caption, prompt, is_new });
        }
    }
    Ok(catalogue)
}

const HELD_OUT_EVERY: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Picture;
    use std::fs;
    use tempfile::TempDir;

    /// A folder of `count` images of colours of their own, and a file of these lines.
    fn folder(count: u8, lines: &str) -> (TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..count {
            let png = Picture::plain([number, 0, 0]).to_png().unwrap();
            fs::write(folder.path().join(format!("{number}.png")), png).unwrap();
        }
        let file = folder.path().join("pairs.jsonl");
        fs::write(&file, lines).unwrap();
        (folder, file)
    }

    fn line(image: u8) -> String {
        format!("{{\"image\": \"{image}.png\", \"caption\": \"caption {image}\"}}\n")
    }

    #[track_caller]
    fn refused(lines: &str, told: &str) {
        let (_folder, file) = folder(2, lines);
        let refusal = read(&file, Split::Train).and_then(|it| it.whole()).unwrap_err().to_string();
        assert!(refusal.contains("pairs.jsonl") && refusal.contains(told), "{told:?} in {refusal}");
        assert!(!refusal.contains('\n'), "{refusal}");
    }

    #[test]
    fn every_tenth_image_is_held_out_with_all_its_captions() {
        let again = line(9) + "\n" + &line(0);
        let (_folder, file) = folder(21, &((0..21).map(line).collect::<String>() + &again));
        let [train, held_out] =
            [Split::Train, Split::Val].map(|split| read(&file, split).unwrap().whole().unwrap());
        assert_eq!((train.pictures.len(), train.captions.len()), (19, 20));
        let held: Vec<_> =
            held_out.captions.iter().map(|it| (&it.caption[..], it.picture)).collect();
        assert_eq!(held, [("caption 9", 0), ("caption 19", 1), ("caption 9", 0)]);
        for data in [train, held_out] {
            for caption in &data.captions {
                let number: u8 = caption.caption.strip_prefix("caption ").unwrap().parse().unwrap();
                assert_eq!(data.pictures[caption.picture], Picture::plain([number, 0, 0]));
                assert!(caption.prompt.is_none());
            }
        }
    }

    #[test]
    fn a_rule_of_geneval_may_stand_beside_a_caption() {
        let rule =
            r#"{"tag": "colors", "prompt": "x", "include": [{"class": "circle", "count": 1}]}"#;
        let text = format!(r#"{{"image": "0.png", "caption": "a teal disc", "prompt": {rule}}}"#);
        let (_folder, file) = folder(1, &text);
        let caption = &read(&file, Split::Train).unwrap().captions[0];
        assert!(caption.prompt.is_some() && caption.is_new);
    }

    #[test]
    fn a_broken_line_is_named_by_its_number() {
        let good = line(0);
        refused(&(good.clone() + "{\"image\": \"1.png\", \"capt"), "line 2, column 24: EOF");
        refused(
            &(good.clone() + "\n{\"image\": \"1.png\"}\n"),
            "line 3, column 18: missing field `caption`",
        );
        let wrong = "{\"image\": \"1.png\", \"caption\": 7}";
        refused(
            &(good.clone() + wrong),
            "line 2, column 31: invalid type: integer `7`, expected a string",
        );
        let more = "{\"image\": \"1.png\", \"caption\": \"x\", \"lang\": \"en\"}";
        refused(&(good.clone() + more), "line 2, column 41: unknown field `lang`");
        refused(
            &(good.clone() + "{\"image\": \"1.png\", \"caption\": \" \"}"),
            "line 2: the caption is empty",
        );
        refused(&(good.clone() + &line(7)), "line 2: there is no image");
        let include = r#"[{"class": "bench", "count": 1}]"#;
        let rule = format!(r#"{{"tag": "colors", "prompt": "x", "include": {include}}}"#);
        let line = format!("{{\"image\": \"1.png\", \"caption\": \"x\", \"prompt\": {rule}}}");
        refused(&(good + &line), "unknown class \"bench\"");
        refused("\n", "has no line");
        refused("\u{feff}[]", "line 1");
    }

    #[test]
    fn an_image_that_is_none_is_named_with_its_line() {
        let (folder, file) = folder(2, &(line(0) + &line(1)));
        fs::write(folder.path().join("1.png"), "no image").unwrap();
        let catalogue = read(&file, Split::Train).unwrap();
        let refusal = catalogue.check_images().unwrap_err().to_string();
        assert!(refusal.contains("pairs.jsonl, line 2: the image in "), "{refusal}");
        assert!(refusal.ends_with("1.png cannot be read: not a png or jpeg file"), "{refusal}");
        fs::remove_file(&file).unwrap();
        let refusal = read(&file, Split::Train).unwrap_err().to_string();
        assert!(refusal.starts_with("missing file"), "{refusal}");
    }
}
