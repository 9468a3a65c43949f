//! A semaphore of cores across processes: nodes on one machine wait for a free core instead of
//! fighting for all.
//!
//! A slot is an exclusive lock on one of a folder's `turn-N` files, one for each core. The kernel
//! releases it when its holder dies, so a killed node never keeps a core. Without a folder every
//! job may run at once.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The folder of slots, or none.
#[derive(Clone, Debug)]
pub struct CoreSlots {
    files: Vec<PathBuf>,
}

/// Held while computing; dropping it frees the core.
#[derive(Debug)]
pub struct CoreSlot {
    _file: Option<File>,
}

impl CoreSlots {
    /// The slots of `folder` as [`CoreSlots::create`] made them; `None` means no waiting.
    pub fn open(folder: Option<&Path>) -> io::Result<Self> {
        let mut files = Vec::new();
        if let Some(folder) = folder {
            for entry in std::fs::read_dir(folder)? {
                files.push(entry?.path());
            }
            files.sort();
        }
        Ok(Self { files })
    }

    /// Makes a folder with `count` slots.
    pub fn create(folder: &Path, count: usize) -> io::Result<()> {
        std::fs::create_dir_all(folder)?;
        for index in 0..count {
            File::create(folder.join(format!("turn-{index}")))?;
        }
        Ok(())
    }

    /// How many may compute at once, as far as this folder says: one where there is none.
    pub fn count(&self) -> usize {
        self.files.len().max(1)
    }

    /// Waits for a free core. `is_stopping` is asked while waiting; `None` when it says yes.
    pub fn acquire(&self, is_stopping: impl Fn() -> bool) -> io::Result<Option<CoreSlot>> {
        if self.files.is_empty() {
            return Ok(Some(CoreSlot { _file: None }));
        }
        while !is_stopping() {
            for path in &self.files {
                let file = File::open(path)?;
                match file.try_lock() {
                    Ok(()) => return Ok(Some(CoreSlot { _file: Some(file) })),
                    Err(TryLockError::WouldBlock) => {}
                    Err(TryLockError::Error(error)) => return Err(error),
                }
            }
            std::thread::sleep(POLL);
        }
        Ok(None)
    }
}

/// How often a waiting job looks again: short beside a training job, cheap beside a core.
const POLL: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_slots_are_given_and_a_third_waits_until_one_is_free() {
        let folder = tempfile::tempdir().unwrap();
        CoreSlots::create(folder.path(), 2).unwrap();
        let slots = CoreSlots::open(Some(folder.path())).unwrap();
        let first = slots.acquire(|| false).unwrap().unwrap();
        let _second = slots.acquire(|| false).unwrap().unwrap();
        assert!(slots.acquire(|| true).unwrap().is_none());
        let asked = std::cell::Cell::new(0);
        let waiting = || asked.replace(asked.get() + 1) > 3;
        assert!(slots.acquire(waiting).unwrap().is_none());
        drop(first);
        assert!(slots.acquire(|| false).unwrap().is_some());
    }

    #[test]
    fn without_a_folder_nobody_waits() {
        let slots = CoreSlots::open(None).unwrap();
        let _held: Vec<_> = (0..9).map(|_| slots.acquire(|| false).unwrap().unwrap()).collect();
    }
}
