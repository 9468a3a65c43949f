//! The file of a member's secret key: made once, readable by its owner alone, never overwritten.
//! What is in it is the protocol's business.

use std::io::ErrorKind;
use std::path::Path;

use witan_files::{SecretError, create_atomically, read_secret};

use crate::error::StoreError;

/// Writes a new key file, mode 0600 from its first moment; refuses to replace one.
pub(crate) fn create(path: &Path, pem: &str) -> Result<(), StoreError> {
    create_atomically(path, pem.as_bytes(), 0o600)
        .map_err(|source| StoreError::io("cannot create the key", path, source))
}

/// Reads a key file, if nobody but its owner can.
pub(crate) fn read(path: &Path) -> Result<String, StoreError> {
    read_secret(path).map_err(|error| match error {
        SecretError::Exposed { mode } => StoreError::KeyExposed { path: path.to_owned(), mode },
        SecretError::Io(error) if error.kind() == ErrorKind::NotFound => {
            StoreError::KeyMissing { path: path.to_owned() }
        }
        SecretError::Io(source) => StoreError::io("cannot read the key", path, source),
    })
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_made_for_its_owner_alone_and_never_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key.pem");
        create(&path, "secret").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(read(&path).unwrap(), "secret");
        assert!(create(&path, "other").is_err());
        assert_eq!(read(&path).unwrap(), "secret");
    }

    #[test]
    fn a_key_that_others_can_read_is_refused_with_the_command_that_helps() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key.pem");
        create(&path, "secret").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let error = read(&path).unwrap_err();
        assert!(matches!(error, StoreError::KeyExposed { mode: 0o640, .. }), "{error}");
        assert_eq!(error.hint().unwrap(), format!("chmod 600 {}", path.display()));
    }
}
