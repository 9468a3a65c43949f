//! Files that are written as a whole or not at all. A reader sees the old bytes or the new ones,
//! and after a power cut one of the two is there.

use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::NamedTempFile;

/// Puts `bytes` at `path` with the permission bits `mode`, in place of what is there; durable when
/// it returns. The folder must exist.
///
/// # Errors
/// Whatever the system refused; `path` is then as it was.
pub fn write_atomically(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    written(folder_of(path), bytes, mode)?.persist(path).map_err(|refused| refused.error)?;
    sync_folder_of(path)
}

/// As [`write_atomically`], but never in place of another file.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`] if there is a file; whatever the system refused.
pub fn create_atomically(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    written(folder_of(path), bytes, mode)?
        .persist_noclobber(path)
        .map_err(|refused| refused.error)?;
    sync_folder_of(path)
}

/// Makes the name of a new or renamed file durable.
///
/// # Errors
/// Whatever the system refused.
pub fn sync_folder_of(path: &Path) -> io::Result<()> {
    File::open(folder_of(path))?.sync_all()
}

/// A new file in `folder` with these bytes, on the disk, under a name of its own.
pub(crate) fn written(folder: &Path, bytes: &[u8], mode: u32) -> io::Result<NamedTempFile> {
    let mut file =
        tempfile::Builder::new().permissions(Permissions::from_mode(mode)).tempfile_in(folder)?;
    // The process's mask may have taken bits away.
    file.as_file().set_permissions(Permissions::from_mode(mode))?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    Ok(file)
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_is_replaced_with_the_mode_asked_for_and_nothing_is_left_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        for (bytes, mode) in [(&b"one"[..], 0o600), (b"two", 0o640)] {
            write_atomically(&path, bytes, mode).unwrap();
            assert_eq!(fs::read(&path).unwrap(), bytes);
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, mode);
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_is_there_is_not_created() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        create_atomically(&path, b"one", 0o600).unwrap();
        let error = create_atomically(&path, b"two", 0o600).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"one");
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let error = write_atomically(&dir.path().join("no/file"), b"", 0o600).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
