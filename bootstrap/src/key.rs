//! The bootstrap peer's own key, in a file like a member's, which `openssl pkey` reads. Decides
//! whether a key file may be used; never overwrites one.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;
use witan_files::{SecretError, create_atomically, random_seed, read_secret};
use witan_protocol::identity::Identity;

/// Why there is no key.
#[derive(Debug, Error)]
pub enum KeyError {
    /// The file system refused.
    #[error("cannot use key file {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others than the owner may read it.
    #[error("key file {path} is readable by others (mode {mode:03o})")]
    Readable {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It holds something else.
    #[error("key file {path} is not an ed25519 private key in PKCS#8 PEM")]
    Malformed {
        /// The file.
        path: PathBuf,
    },
}

impl KeyError {
    /// What to do next, if that is known.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Readable { .. } => Some("take it from the others: chmod 600"),
            Self::Malformed { .. } => {
                Some("move the file away: the next start makes a new key, with another address")
            }
            Self::Io { .. } => None,
        }
    }
}

/// Reads the secret seed, or makes one on the first run.
pub(crate) fn load_or_create(path: &Path) -> Result<[u8; 32], KeyError> {
    let in_file = |source| KeyError::Io { path: path.to_owned(), source };
    match read_secret(path) {
        Ok(text) => match Identity::from_pem(&text) {
            Ok(identity) => Ok(identity.seed()),
            Err(_) => Err(KeyError::Malformed { path: path.to_owned() }),
        },
        Err(SecretError::Exposed { mode }) => {
            Err(KeyError::Readable { path: path.to_owned(), mode })
        }
        Err(SecretError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
            create(path).map_err(in_file)
        }
        Err(SecretError::Io(source)) => Err(in_file(source)),
    }
}

fn create(path: &Path) -> io::Result<[u8; 32]> {
    let seed = random_seed()?;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    create_atomically(path, Identity::from_seed(seed).to_pem().as_bytes(), 0o600)?;
    Ok(seed)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_key_made_on_the_first_run_is_read_on_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("home/key.pem");
        let first = load_or_create(&path).unwrap();
        assert_eq!(load_or_create(&path).unwrap(), first);
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
    }

    #[test]
    fn a_key_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key.pem");
        load_or_create(&path).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let error = load_or_create(&path).unwrap_err();
        assert!(matches!(error, KeyError::Readable { mode: 0o644, .. }), "{error}");
    }

    #[test]
    fn a_file_that_is_no_key_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key.pem");
        fs::write(&path, "garbage").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(load_or_create(&path), Err(KeyError::Malformed { .. })));
    }
}
