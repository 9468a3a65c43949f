//! One append-only file of frames: open, append, make durable. Knows nothing of what the bodies
//! mean.
//!
//! A write that fails leaves the file as it was. A *sync* that fails leaves it unknown what is on
//! the disk (the kernel may have dropped the dirty pages), so the file refuses all further writes.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use witan_files::sync_folder_of;

use super::frame::{self, Step};
use crate::error::{Damage, StoreError};

/// First bytes of a file of frames; what follows is the frames.
pub type Magic = [u8; 16];

/// An open file of frames, with one writer.
#[derive(Debug)]
pub struct AppendFile {
    path: PathBuf,
    file: File,
    magic: Magic,
    length: u64,
    dirty: bool,
    poisoned: bool,
}

/// What a file of frames held.
#[derive(Debug, Default)]
pub struct Contents {
    /// The bodies, each with the offset of its frame.
    pub frames: Vec<StoredFrame>,
    /// Where an unfinished frame begins, if the file ends in one.
    pub torn_at: Option<u64>,
}

/// One frame as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredFrame {
    /// Where the frame begins.
    pub offset: u64,
    /// Its body.
    pub body: Vec<u8>,
}

/// Damage at an offset; the caller knows which file and round that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DamageAt {
    /// Where the bad frame begins.
    pub offset: u64,
    /// What does not fit.
    pub damage: Damage,
}

/// Reads a file of frames without opening it for writing; a file that is not there is empty. What
/// came before a damage is returned with it.
pub fn read(path: &Path, magic: &Magic) -> Result<(Contents, Option<DamageAt>), StoreError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(parse(&bytes, magic)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Default::default()),
        Err(source) => Err(StoreError::io("cannot read", path, source)),
    }
}

fn parse(bytes: &[u8], magic: &Magic) -> (Contents, Option<DamageAt>) {
    let mut contents = Contents::default();
    if bytes.len() < magic.len() {
        let damage = (!magic.starts_with(bytes)).then_some(DamageAt::magic());
        contents.torn_at = (!bytes.is_empty() && damage.is_none()).then_some(0);
        return (contents, damage);
    }
    if !bytes.starts_with(magic) {
        return (contents, Some(DamageAt::magic()));
    }
    let mut offset = magic.len() as u64;
    loop {
        match frame::step(bytes, offset) {
            Step::Frame(body) => {
                contents.frames.push(StoredFrame { offset, body: body.to_vec() });
                offset += frame::frame_bytes(body);
            }
            Step::End => return (contents, None),
            Step::Torn => {
                contents.torn_at = Some(offset);
                return (contents, None);
            }
            Step::Damaged(damage) => return (contents, Some(DamageAt { offset, damage })),
        }
    }
}

impl AppendFile {
    /// Opens or makes the file and cuts an unfinished frame off its end; `contents` is what
    /// [`read`] found in it, without damage.
    pub fn open(path: &Path, magic: Magic, contents: &Contents) -> Result<Self, StoreError> {
        let failed = |source| StoreError::io("cannot open", path, source);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(failed)?;
        let mut length = file.metadata().map_err(failed)?.len();
        if let Some(at) = contents.torn_at {
            file.set_len(at).map_err(failed)?;
            length = at;
        }
        let mut this =
            Self { path: path.to_owned(), file, magic, length, dirty: true, poisoned: false };
        if this.length < magic.len() as u64 {
            this.write(0, &magic)?;
        }
        this.sync()?;
        sync_folder_of(path)
            .map_err(|source| StoreError::io("cannot make durable", path, source))?;
        Ok(this)
    }

    /// Appends a frame and returns its offset. Durable only after [`AppendFile::sync`].
    pub fn append(&mut self, body: &[u8]) -> Result<u64, StoreError> {
        let offset = self.length;
        self.write(offset, &frame::seal(offset, body))?;
        Ok(offset)
    }

    /// Makes everything appended durable; does nothing when everything already is.
    pub fn sync(&mut self) -> Result<(), StoreError> {
        self.check()?;
        if self.dirty {
            self.file.sync_data().map_err(|source| {
                self.poisoned = true;
                StoreError::io("cannot make durable", &self.path, source)
            })?;
            self.dirty = false;
        }
        Ok(())
    }

    /// Drops every frame. Not synced: the caller must not depend on the frames being gone.
    pub fn clear(&mut self) -> Result<(), StoreError> {
        self.check()?;
        let length = self.magic.len() as u64;
        self.file
            .set_len(length)
            .map_err(|source| StoreError::io("cannot shorten", &self.path, source))?;
        self.length = length;
        Ok(())
    }

    /// The body of the frame at `offset`, which [`AppendFile::append`] or [`read`] gave.
    pub fn body(&self, offset: u64) -> Result<Vec<u8>, StoreError> {
        let failed = |source| StoreError::io("cannot read", &self.path, source);
        let mut head = [0; frame::HEAD_BYTES];
        self.file.read_exact_at(&mut head, offset).map_err(failed)?;
        let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let mut bytes = vec![0; frame::HEAD_BYTES + length.min(frame::BODY_MAX_BYTES)];
        self.file.read_exact_at(&mut bytes, offset).map_err(failed)?;
        match frame::reread(&bytes, offset) {
            Step::Frame(body) => Ok(body.to_vec()),
            _ => Err(StoreError::Damaged {
                path: self.path.clone(),
                offset,
                round: None,
                damage: Damage::Bytes,
            }),
        }
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), StoreError> {
        self.check()?;
        self.dirty = true;
        if let Err(source) = self.file.write_all_at(bytes, offset) {
            // A half-written frame must not precede a whole one.
            self.poisoned = self.file.set_len(self.length).is_err();
            return Err(StoreError::io("cannot write to", &self.path, source));
        }
        self.length = offset + bytes.len() as u64;
        Ok(())
    }

    fn check(&self) -> Result<(), StoreError> {
        match self.poisoned {
            true => Err(StoreError::Poisoned { path: self.path.clone() }),
            false => Ok(()),
        }
    }
}

impl DamageAt {
    fn magic() -> Self {
        Self { offset: 0, damage: Damage::Magic }
    }
}
