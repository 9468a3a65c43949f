//! Reads prompts to draw from in GenEval's own form, JSON lines (`evaluation_metadata.jsonl`).

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::scenes::PromptCase;
use super::vocabulary::has_new_word;
use super::{DataError, bounded};
use crate::prompt::Prompt;

/// The prompts with their lines' numbers, from 1.
///
/// # Errors
/// A line that is no prompt, or whose shapes or colours are unknown here, or no line at all.
pub fn read(path: &Path) -> Result<Vec<(usize, PromptCase)>, DataError> {
    let case = |prompt: Prompt| PromptCase { is_new: has_new_word(&prompt.prompt), prompt };
    let lines = bounded::some_json_lines(path)?.into_iter();
    Ok(lines.map(|(line, prompt)| (line, case(prompt))).collect())
}

/// A line of GenEval's file, whatever its classes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Unread {
    /// What to draw.
    pub prompt: String,
    /// What its scorer reads.
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// The prompts of a file, whatever is to be seen in their drawings.
///
/// # Errors
/// A line without a prompt, or no line at all.
pub fn read_any(path: &Path) -> Result<Vec<Unread>, DataError> {
    Ok(bounded::some_json_lines(path)?.into_iter().map(|(_, prompt)| prompt).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_keep_their_lines_and_a_foreign_class_is_named_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("prompts.jsonl");
        let line = |class: &str, text: &str| {
            let include = format!(r#"[{{"class": "{class}", "count": 1}}]"#);
            format!(r#"{{"tag": "single_object", "include": {include}, "prompt": "{text}"}}"#)
        };
        let good = format!("\n{}\n{}\n", line("star", "a star"), line("circle", "a disc"));
        std::fs::write(&path, &good).unwrap();
        let read_back = read(&path).unwrap();
        let told: Vec<_> =
            read_back.iter().map(|(line, it)| (*line, &it.prompt.prompt[..], it.is_new)).collect();
        assert_eq!(told, [(2, "a star", false), (3, "a disc", true)]);
        std::fs::write(&path, good + &line("bench", "a photo of a bench")).unwrap();
        let refusal = read(&path).unwrap_err().to_string();
        assert!(refusal.contains("prompts.jsonl, line 4"), "{refusal}");
        assert!(refusal.ends_with("unknown class \"bench\""), "{refusal}");
        std::fs::write(&path, "\n").unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("has no line"));
    }
}
