//! Secrets: the seed of a new key, and reading a file that nobody but its owner may read. What is
//! in the file is the caller's business.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Why a secret file is not read.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// Others than the owner have permissions on it.
    #[error("it can be read by others (mode {mode:04o})")]
    Exposed {
        /// Its permission bits.
        mode: u32,
    },
    /// The system refused.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The text of `path`; of a file much longer than a key, its beginning.
///
/// # Errors
/// See [`SecretError`]; a file that is not there is [`io::ErrorKind::NotFound`].
pub fn read_secret(path: &Path) -> Result<String, SecretError> {
    let file = File::open(path)?;
    let mode = file.metadata()?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(SecretError::Exposed { mode });
    }
    let mut text = String::new();
    file.take(BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

/// 32 secret random bytes from the system.
///
/// # Errors
/// If it has none to give.
pub fn random_seed() -> io::Result<[u8; 32]> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)?;
    Ok(seed)
}

/// An ed25519 key in PEM form is 119 bytes; text around it is allowed, a wrong file is not read in.
const BYTES_MAX: u64 = 16 << 10;

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};

    use super::*;

    #[test]
    fn a_file_that_others_can_touch_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key.pem");
        fs::write(&path, "secret").unwrap();
        for mode in [0o644, 0o640, 0o604, 0o620] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let error = read_secret(&path).unwrap_err();
            assert!(matches!(error, SecretError::Exposed { mode: found } if found == mode));
        }
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        assert_eq!(read_secret(&path).unwrap(), "secret");
    }
}
