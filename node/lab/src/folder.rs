//! The folder of an experiment: claimed for one spec, locked while it is worked in, read again to
//! go on. Every file in it is written as a whole or not at all, and the spec last of what makes it
//! whole.

use std::fmt::Display;
use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use witan_files::write_atomically;
use witan_home::{Failure, shell};

/// What an experiment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A federation on this machine.
    Testnet,
    /// Trainings without a federation.
    Train,
    /// Many of both.
    Grid,
}

/// A folder of this process's own until it is dropped.
#[derive(Clone, Debug)]
pub struct Folder {
    /// Where it is.
    pub dir: PathBuf,
    /// What it is of.
    pub kind: Kind,
    lock: Option<Arc<File>>,
}

impl Kind {
    fn command(self) -> &'static str {
        match self {
            Self::Testnet => "testnet",
            Self::Train => "train",
            Self::Grid => "grid",
        }
    }

    /// The file that says what was asked for; a folder that holds it is this experiment's.
    fn spec_file(self) -> String {
        format!("{}.json", self.command())
    }

    /// Whether `dir` is the folder of such an experiment.
    pub fn is_in(self, dir: &Path) -> bool {
        dir.join(self.spec_file()).exists()
    }

    /// Checks that `dir` can become its folder: it is empty, or not there.
    pub fn fits(self, dir: &Path) -> Result<(), Failure> {
        let other = "choose another folder with --dir";
        let noun = if self == Self::Train { "training" } else { self.command() };
        let at = dir.display();
        let (message, hint) = match dir.read_dir().map(|mut entries| entries.next().is_some()) {
            Ok(false) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => (format!("cannot use {at}: {error}"), other.to_owned()),
            Ok(true) if self.is_in(dir) => {
                let hint = format!("continue it with --resume, or {other}");
                (format!("{at} holds a {noun} already"), hint)
            }
            Ok(true) => {
                let hint = format!("{other}, or empty this one");
                (format!("{at} is not empty and holds no {noun}"), hint)
            }
        };
        Err(Failure::input(message).hint(hint))
    }
}

impl Folder {
    /// A new folder, to be filled and then claimed.
    pub fn new(dir: &Path, kind: Kind) -> Result<Self, Failure> {
        kind.fits(dir)?;
        let folder = Self { dir: dir.to_owned(), kind, lock: None };
        fs::create_dir_all(dir).map_err(|error| cannot_write(dir, &error))?;
        Ok(folder)
    }

    /// Writes the spec: from here on the folder is whole, and this process's.
    pub fn claim(mut self, spec: &impl Serialize) -> Result<Self, Failure> {
        self.write_json(self.kind.spec_file(), spec)?;
        self.lock()?;
        Ok(self)
    }

    /// Opens a folder that an earlier run left, with its spec.
    pub fn open<T: DeserializeOwned>(dir: &Path, kind: Kind) -> Result<(Self, T), Failure> {
        let path = dir.join(kind.spec_file());
        let not_ours = |error: &dyn Display| {
            let command = kind.command();
            Failure::input(format!("cannot read {}: {error}", path.display())).hint(format!(
                "only a folder that `witan {command}` made can be resumed; name it with --dir"
            ))
        };
        let bytes = fs::read(&path).map_err(|error| not_ours(&error))?;
        let spec = serde_json::from_slice(&bytes).map_err(|error| not_ours(&error))?;
        let mut folder = Self { dir: dir.to_owned(), kind, lock: None };
        folder.lock()?;
        Ok((folder, spec))
    }

    fn lock(&mut self) -> Result<(), Failure> {
        let path = self.dir.join(self.kind.spec_file());
        let cannot = |error: &dyn Display| {
            Failure::environment(format!("cannot lock {}: {error}", path.display()))
        };
        let file = File::open(&path).map_err(|error| cannot(&error))?;
        match file.try_lock() {
            Ok(()) => self.lock = Some(Arc::new(file)),
            Err(TryLockError::WouldBlock) => {
                let (command, dir) = (self.kind.command(), self.dir.display());
                return Err(Failure::input(format!("another `witan {command}` works in {dir}"))
                    .hint("wait for it, or choose another folder with --dir"));
            }
            Err(TryLockError::Error(error)) => return Err(cannot(&error)),
        }
        Ok(())
    }

    /// Where a file of this name is.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.join(name)
    }

    /// Writes a file as a whole or not at all, and the folders it lies in.
    pub fn write(&self, name: impl AsRef<Path>, bytes: &[u8]) -> Result<(), Failure> {
        write(&self.path(name), bytes).map_err(|failure| {
            let way_on = self.resume_command();
            failure.hint(format!("free space on its disk, then continue with: {way_on}"))
        })
    }

    /// The same of a value, as JSON.
    pub fn write_json(
        &self,
        name: impl AsRef<Path>,
        value: &impl Serialize,
    ) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(value).expect("specs and reports are plain JSON");
        self.write(name, (text + "\n").as_bytes())
    }

    /// Reads such a file, if there is one.
    pub fn read_json<T: DeserializeOwned>(
        &self,
        name: impl AsRef<Path>,
    ) -> Result<Option<T>, Failure> {
        let path = self.path(name);
        let bad = |error: &dyn Display| {
            Failure::input(format!("{} cannot be read: {error}", path.display()))
                .hint(format!("remove it, and it is made again: {}", self.resume_command()))
        };
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| bad(&error)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(bad(&error)),
        }
    }

    /// Removes a folder in it, if there is one.
    pub fn remove(&self, name: impl AsRef<Path>) -> Result<(), Failure> {
        let path = self.path(name);
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(cannot_write(&path, &error)),
            _ => Ok(()),
        }
    }

    /// The command that goes on with what is here.
    pub fn resume_command(&self) -> String {
        match self.kind {
            Kind::Grid => "the same command".to_owned(),
            kind => {
                let (witan, dir) = (shell::witan(), shell::word(&self.dir));
                format!("{witan} {} --resume --dir {dir}", kind.command())
            }
        }
    }
}

/// Writes a file as a whole or not at all, and the folders it lies in.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)
        .and_then(|()| write_atomically(path, bytes, 0o644))
        .map_err(|error| cannot_write(path, &error))
}

fn cannot_write(path: &Path, error: &std::io::Error) -> Failure {
    Failure::environment(format!("cannot write {}: {error}", path.display()))
        .hint("name a folder you can write to, on a disk with room")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_claimed_once_and_worked_in_by_one() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("new");
        let folder = Folder::new(&dir, Kind::Train).unwrap().claim(&7).unwrap();
        let again = Folder::new(&dir, Kind::Train).unwrap_err();
        assert!(again.message.contains("holds a training already"), "{again}");
        let other = Folder::new(&dir, Kind::Grid).unwrap_err();
        assert!(other.message.contains("is not empty and holds no grid"), "{other}");
        let busy = Folder::open::<u8>(&dir, Kind::Train).unwrap_err();
        assert!(busy.message.contains("another `witan train` works in"), "{busy}");
        drop(folder);
        let (folder, spec) = Folder::open::<u8>(&dir, Kind::Train).unwrap();
        assert_eq!(spec, 7);
        folder.write_json("sub/it.json", &8).unwrap();
        assert_eq!(folder.read_json::<u8>("sub/it.json").unwrap(), Some(8));
        assert_eq!(folder.read_json::<u8>("none.json").unwrap(), None);
        folder.write("sub/it.json", b"{").unwrap();
        let bad = folder.read_json::<u8>("sub/it.json").unwrap_err();
        assert!(bad.message.contains("it.json cannot be read"), "{bad}");
    }
}
