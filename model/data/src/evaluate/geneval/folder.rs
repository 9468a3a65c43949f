//! Drawings on disk as GenEval's own scripts lay them out, so that another scorer can judge them.
//!
//! ```text
//! DIR/00000/metadata.jsonl         the prompt, one line of GenEval's schema
//! DIR/00000/samples/0000.png …     its drawings
//! DIR/00001/…
//! ```
//!
//! Nothing is ever written over: a folder with anything in it is refused.

use std::path::{Path, PathBuf};
use std::{fs, io};

use serde::Serialize;
use thiserror::Error;

use super::Prompt;
use crate::Picture;

/// A folder being filled.
#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
}

/// Why drawings cannot be laid out there.
#[derive(Debug, Error)]
pub enum FolderError {
    /// It holds something already.
    #[error("{} is not empty", root.display())]
    Taken {
        /// The folder.
        root: PathBuf,
    },
    /// The disk refused.
    #[error("cannot write {}: {source}", path.display())]
    Unwritable {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl Folder {
    /// Makes the folder, or takes one that is empty.
    ///
    /// # Errors
    /// If it holds anything, or cannot be made.
    pub fn create(root: &Path) -> Result<Self, FolderError> {
        let root = root.to_owned();
        match fs::create_dir_all(&root).and_then(|()| Ok(fs::read_dir(&root)?.count())) {
            Ok(0) => Ok(Self { root }),
            Ok(_) => Err(FolderError::Taken { root }),
            Err(source) => Err(FolderError::Unwritable { path: root, source }),
        }
    }

    /// Adds drawing `image` of prompt `number`, both counted from 0.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn add(
        &self,
        (number, prompt): (usize, &Prompt),
        image: usize,
        drawing: &Picture,
    ) -> Result<(), FolderError> {
        let png = drawing.to_png().expect("a drawing has a picture's size");
        self.add_file((number, prompt), (image, "png"), &png)
    }

    /// The same of a drawing in a file of another kind, of a prompt whatever its classes.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn add_file(
        &self,
        (number, prompt): (usize, &impl Serialize),
        (image, ending): (usize, &str),
        drawing: &[u8],
    ) -> Result<(), FolderError> {
        let folder = self.root.join(format!("{number:05}"));
        let samples = folder.join("samples");
        let line = serde_json::to_string(prompt).expect("a prompt is plain JSON") + "\n";
        write(&samples, |path| fs::create_dir_all(path))?;
        write(&folder.join("metadata.jsonl"), |path| fs::write(path, line))?;
        write(&samples.join(format!("{image:04}.{ending}")), |path| fs::write(path, drawing))
    }
}

fn write(path: &Path, how: impl FnOnce(&Path) -> io::Result<()>) -> Result<(), FolderError> {
    how(path).map_err(|source| FolderError::Unwritable { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawings_lie_as_geneval_lays_them_and_are_never_written_over() {
        let temporary = tempfile::tempdir().unwrap();
        let root = temporary.path().join("new/drawings");
        let folder = Folder::create(&root).unwrap();
        let line = r#"{"tag":"colors","include":[{"class":"star","count":1,"color":"red"}],"#;
        let line = format!(r#"{line}"prompt":"a red star"}}"#);
        let prompt: Prompt = serde_json::from_str(&line).unwrap();
        for image in 0..4 {
            folder.add((7, &prompt), image, &Picture::plain([image as u8; 3])).unwrap();
        }
        let metadata = fs::read_to_string(root.join("00007/metadata.jsonl")).unwrap();
        assert_eq!(metadata, line + "\n");
        let third = fs::read(root.join("00007/samples/0003.png")).unwrap();
        assert_eq!(Picture::from_bytes(&third).unwrap(), Picture::plain([3; 3]));
        let refusal = Folder::create(&root).unwrap_err().to_string();
        assert!(refusal.ends_with("new/drawings is not empty"), "{refusal}");
    }
}
