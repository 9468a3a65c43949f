//! Content-addressed files: `ab/<digest in hexadecimal>` under one folder.
//!
//! Decides when bytes count as stored: written, synced, renamed into place and checked against
//! their digest. A file that is torn or altered is never served: every whole read checks the
//! digest again and names the file. Blobs stay out of sled, which triples them on disk.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use thiserror::Error;
use witan_protocol::digest::{BlobRef, Digest};

use super::atomic::{sync_folder_of, written};

/// A folder of blobs; cheap to clone, every clone sees the same files.
#[derive(Clone, Debug)]
pub struct Blobs {
    root: PathBuf,
}

/// Why a blob could not be stored or read.
#[derive(Debug, Error)]
pub enum BlobError {
    /// The file system refused.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No file of that name.
    #[error("blob {0} is not stored here")]
    Missing(Digest),
    /// The file has another length than the reference says: torn, or cut.
    #[error("blob file {path} has {found} bytes, its reference says {expected}")]
    Size {
        /// The file.
        path: PathBuf,
        /// Bytes the reference promises.
        expected: u64,
        /// Bytes found.
        found: u64,
    },
    /// The bytes are not the ones the name promises.
    #[error("blob file {path} is corrupt: its bytes have digest {found}, expected {expected}")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// The digest in the name.
        expected: Digest,
        /// The digest of the bytes.
        found: Digest,
    },
}

impl Blobs {
    /// Opens the folder, making it if needed. Never deletes anything: a reader may open it too.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, BlobError> {
        let root = dir.as_ref().to_owned();
        let unfinished = root.join(UNFINISHED);
        fs::create_dir_all(&unfinished).map_err(io_error("make", &unfinished))?;
        Ok(Self { root })
    }

    /// Removes what an interrupted [`Blobs::put`] left behind; for the owner, once, at its start.
    /// Parts of unfinished fetches stay: they are resumed.
    pub fn sweep(&self) -> Result<(), BlobError> {
        for path in files(&self.root.join(UNFINISHED))? {
            if path.extension().is_none_or(|extension| extension != PART) {
                fs::remove_file(&path).map_err(io_error("remove", &path))?;
            }
        }
        Ok(())
    }

    /// Whether a file of this name and length is here. Its bytes are checked by [`Blobs::read`].
    pub fn has(&self, blob: &BlobRef) -> bool {
        fs::metadata(self.path(&blob.digest)).is_ok_and(|meta| meta.len() == blob.size_bytes)
    }

    /// Where the blob is, or would be.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        let name = digest.to_string();
        self.root.join(&name[..2]).join(name)
    }

    /// Stores bytes; durable when this returns.
    pub fn put(&self, bytes: &[u8]) -> Result<BlobRef, BlobError> {
        let blob = BlobRef::of(bytes);
        if self.has(&blob) && self.read(&blob).is_ok() {
            return Ok(blob);
        }
        let unfinished = self.root.join(UNFINISHED);
        let kept = written(&unfinished, bytes, 0o600)
            .and_then(|file| Ok(file.into_temp_path().keep()?))
            .map_err(io_error("write a blob in", &unfinished))?;
        self.publish(&kept, &blob.digest)?;
        Ok(blob)
    }

    /// Reads a whole blob and checks length and digest.
    pub fn read(&self, blob: &BlobRef) -> Result<Vec<u8>, BlobError> {
        let path = self.path(&blob.digest);
        let found = fs::metadata(&path).map_err(|source| self.missing(blob.digest, source))?.len();
        if found != blob.size_bytes {
            return Err(BlobError::Size { path, expected: blob.size_bytes, found });
        }
        let bytes = fs::read(&path).map_err(io_error("read", &path))?;
        let found = Digest::of(&bytes);
        if found != blob.digest {
            return Err(BlobError::Corrupt { path, expected: blob.digest, found });
        }
        Ok(bytes)
    }

    /// At most `len` bytes from `offset`; empty past the end. Not checked: whoever asked checks
    /// the whole.
    pub fn read_chunk(&self, digest: &Digest, offset: u64, len: u32) -> Result<Vec<u8>, BlobError> {
        let path = self.path(digest);
        let mut file = File::open(&path).map_err(|source| self.missing(*digest, source))?;
        let size = file.metadata().map_err(io_error("stat", &path))?.len();
        let len = size.saturating_sub(offset).min(u64::from(len));
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(offset))
            .and_then(|_| file.take(len).read_to_end(&mut bytes))
            .map_err(io_error("read", &path))?;
        Ok(bytes)
    }

    /// The unfinished copy of a blob, with what an earlier attempt left in it.
    pub fn part(&self, blob: &BlobRef) -> Result<Part, BlobError> {
        let path = self.root.join(UNFINISHED).join(format!("{}.{PART}", blob.digest));
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(io_error("open", &path))?;
        let mut hasher = blake3::Hasher::new();
        io::copy(&mut file, &mut hasher).map_err(io_error("read", &path))?;
        let mut part = Part { blobs: self.clone(), blob: *blob, path, file, hasher };
        if part.written() > blob.size_bytes {
            part.restart()?;
        }
        Ok(part)
    }

    /// Every blob here, in order of digest; files of other names are passed over.
    pub fn list(&self) -> Result<Vec<BlobRef>, BlobError> {
        let mut blobs = Vec::new();
        for folder in entries(&self.root)?.into_iter().filter(|path| path.is_dir()) {
            for path in files(&folder)? {
                let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                let Some(digest) = parse_digest(name) else { continue };
                let size_bytes = fs::metadata(&path).map_err(io_error("stat", &path))?.len();
                blobs.push(BlobRef { digest, size_bytes });
            }
        }
        blobs.sort();
        Ok(blobs)
    }

    /// Moves a synced file to its name and syncs both folders' entries.
    fn publish(&self, from: &Path, digest: &Digest) -> Result<(), BlobError> {
        let to = self.path(digest);
        let folder = to.parent().expect("a blob's path has the folder of its first byte");
        let is_new = !folder.exists();
        fs::create_dir_all(folder).map_err(io_error("make", folder))?;
        fs::rename(from, &to).map_err(io_error("rename", from))?;
        sync_folder_of(&to)
            .and_then(|()| if is_new { sync_folder_of(folder) } else { Ok(()) })
            .map_err(io_error("sync", folder))
    }

    fn missing(&self, digest: Digest, source: io::Error) -> BlobError {
        if source.kind() == io::ErrorKind::NotFound {
            return BlobError::Missing(digest);
        }
        io_error("read", &self.path(&digest))(source)
    }
}

/// A blob being written front to back. Dropping it keeps the bytes for the next attempt.
#[derive(Debug)]
pub struct Part {
    blobs: Blobs,
    blob: BlobRef,
    path: PathBuf,
    file: File,
    hasher: blake3::Hasher,
}

impl Part {
    /// Bytes written so far: where the next one belongs.
    pub fn written(&self) -> u64 {
        self.hasher.count()
    }

    /// Bytes still to come.
    pub fn missing(&self) -> u64 {
        self.blob.size_bytes - self.written()
    }

    /// Appends bytes; more than the blob has is an error and writes nothing.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), BlobError> {
        if bytes.len() as u64 > self.missing() {
            let found = self.written() + bytes.len() as u64;
            let (path, expected) = (self.path.clone(), self.blob.size_bytes);
            return Err(BlobError::Size { path, expected, found });
        }
        self.file.write_all(bytes).map_err(io_error("write", &self.path))?;
        self.hasher.update(bytes);
        Ok(())
    }

    /// Throws away what is written.
    pub fn restart(&mut self) -> Result<(), BlobError> {
        self.file
            .set_len(0)
            .and_then(|()| self.file.rewind())
            .map_err(io_error("empty", &self.path))?;
        self.hasher = blake3::Hasher::new();
        Ok(())
    }

    /// Checks length and digest, syncs, and moves the file to its name: durable on return.
    /// Wrong bytes are thrown away, so that the next attempt starts clean.
    pub fn finish(mut self) -> Result<(), BlobError> {
        if self.missing() > 0 {
            let (expected, found) = (self.blob.size_bytes, self.written());
            return Err(BlobError::Size { path: self.path, expected, found });
        }
        let found = Digest(*self.hasher.finalize().as_bytes());
        if found != self.blob.digest {
            self.restart()?;
            return Err(BlobError::Corrupt { path: self.path, expected: self.blob.digest, found });
        }
        self.file.sync_all().map_err(io_error("sync", &self.path))?;
        self.blobs.publish(&self.path, &self.blob.digest)
    }
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BlobError {
    move |source| BlobError::Io { action, path: path.to_owned(), source }
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, BlobError> {
    Ok(entries(folder)?.into_iter().filter(|path| path.is_file()).collect())
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, BlobError> {
    fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect())
        .map_err(io_error("list", folder))
}

fn parse_digest(name: &str) -> Option<Digest> {
    let bytes = HEXLOWER.decode(name.as_bytes()).ok()?;
    bytes.try_into().ok().map(Digest)
}

/// The folder of files that are not blobs yet.
const UNFINISHED: &str = "unfinished";

/// The extension of a fetch that can be resumed.
const PART: &str = "part";

#[cfg(test)]
mod tests {
    use super::*;

    fn blobs() -> (tempfile::TempDir, Blobs) {
        let dir = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(dir.path()).unwrap();
        (dir, blobs)
    }

    #[test]
    fn what_is_put_is_read_and_listed_until_its_file_is_removed() {
        let (_dir, blobs) = blobs();
        let blob = blobs.put(b"adapter").unwrap();
        assert!(blobs.has(&blob));
        assert_eq!(blobs.put(b"adapter").unwrap(), blob);
        assert_eq!(blobs.read(&blob).unwrap(), b"adapter");
        assert_eq!(blobs.read_chunk(&blob.digest, 5, 100).unwrap(), b"er");
        assert_eq!(blobs.read_chunk(&blob.digest, 99, 100).unwrap(), b"");
        assert_eq!(blobs.list().unwrap(), [blob]);
        fs::remove_file(blobs.path(&blob.digest)).unwrap();
        assert!(!blobs.has(&blob));
        assert!(
            matches!(blobs.read(&blob), Err(BlobError::Missing(digest)) if digest == blob.digest)
        );
    }

    #[test]
    fn an_altered_file_is_named() {
        let (_dir, blobs) = blobs();
        let blob = blobs.put(b"adapter").unwrap();
        fs::write(blobs.path(&blob.digest), b"adaptor").unwrap();
        let error = blobs.read(&blob).unwrap_err();
        assert!(matches!(error, BlobError::Corrupt { .. }), "{error}");
        assert!(error.to_string().contains(&blob.digest.to_string()));
        assert_eq!(blobs.put(b"adapter").unwrap(), blob);
        assert_eq!(blobs.read(&blob).unwrap(), b"adapter");
    }

    #[test]
    fn a_torn_file_is_not_had_and_is_named() {
        let (_dir, blobs) = blobs();
        let blob = blobs.put(b"adapter").unwrap();
        fs::write(blobs.path(&blob.digest), b"adap").unwrap();
        assert!(!blobs.has(&blob));
        let error = blobs.read(&blob).unwrap_err();
        assert!(matches!(error, BlobError::Size { expected: 7, found: 4, .. }), "{error}");
    }

    #[test]
    fn a_part_is_resumed_where_it_stopped() {
        let (_dir, blobs) = blobs();
        let blob = BlobRef::of(b"adapter");
        blobs.part(&blob).unwrap().append(b"ada").unwrap();
        blobs.sweep().unwrap();
        let mut part = blobs.part(&blob).unwrap();
        assert_eq!((part.written(), part.missing()), (3, 4));
        assert!(part.append(b"pters").is_err());
        part.append(b"pter").unwrap();
        part.finish().unwrap();
        assert_eq!(blobs.read(&blob).unwrap(), b"adapter");
    }

    #[test]
    fn a_part_of_wrong_bytes_is_refused_and_emptied() {
        let (_dir, blobs) = blobs();
        let blob = BlobRef::of(b"adapter");
        let mut part = blobs.part(&blob).unwrap();
        part.append(b"adaptor").unwrap();
        assert!(matches!(part.finish(), Err(BlobError::Corrupt { .. })));
        assert!(!blobs.has(&blob));
        assert_eq!(blobs.part(&blob).unwrap().written(), 0);
    }

    #[test]
    fn sweeping_removes_interrupted_writes_only() {
        let (dir, blobs) = blobs();
        let stale = dir.path().join(UNFINISHED).join(".tmp1");
        fs::write(&stale, b"x").unwrap();
        let blob = blobs.put(b"adapter").unwrap();
        blobs.sweep().unwrap();
        assert!(!stale.exists());
        assert!(blobs.has(&blob));
    }
}
