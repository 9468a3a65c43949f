//! The bootstrap peer's own key, in a file like a member's, which `openssl pkey` reads. Decides
//! whether a key file may be used; never overwrites one.

use std::io;
use std::path::Path;

use witan_files::{SecretError, create_atomically, random_seed, read_secret};
use witan_protocol::identity::Identity;

use super::BootstrapError;

/// Reads the secret seed, or makes one on the first run.
pub(crate) fn load_or_create(path: &Path) -> Result<[u8; 32], BootstrapError> {
    let in_file = |source| BootstrapError::Io { path: path.to_owned(), source };
    match read_secret(path) {
        Ok(text) => Identity::from_pem(&text)
            .map(|identity| identity.seed())
            .map_err(|_| BootstrapError::Malformed { path: path.to_owned() }),
        Err(SecretError::Exposed { mode }) => {
            Err(BootstrapError::Readable { path: path.to_owned(), mode })
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
        assert!(matches!(error, BootstrapError::Readable { mode: 0o644, .. }), "{error}");
    }

    #[test]
    fn a_file_that_is_no_key_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key.pem");
        fs::write(&path, "garbage").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(load_or_create(&path), Err(BootstrapError::Malformed { .. })));
    }
}
