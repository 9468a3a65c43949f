//! A Unix socket's address holds 107 bytes of path, and home folders can lie deeper than that. Such
//! a socket is reached through an open handle of its folder, whose path in `/proc` is short.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// A path to a socket that is short enough; valid while this value lives.
pub(super) struct Address {
    /// What to bind or connect to.
    pub path: PathBuf,
    _folder: Option<File>,
}

/// The address of the socket at `path`.
pub(super) fn of(path: &Path) -> io::Result<Address> {
    let parts = path.parent().zip(path.file_name());
    let Some((folder, name)) = parts.filter(|_| path.as_os_str().len() > PATH_MAX_BYTES) else {
        return Ok(Address { path: path.to_owned(), _folder: None });
    };
    let folder = File::open(folder)?;
    let path = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())).join(name);
    Ok(Address { path, _folder: Some(folder) })
}

/// `sun_path` of Linux, less its closing zero.
const PATH_MAX_BYTES: usize = 107;
