//! The bootstrap peer's own key, in a file like a member's, which `openssl pkey` reads. Decides
//! whether a key file may be used; never overwrites one.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use libp2p::identity::{Keypair, ed25519};
use thiserror::Error;
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

/// Reads the key, or makes one on the first run.
pub fn load_or_create(path: &Path) -> Result<Keypair, KeyError> {
    match File::open(path) {
        Ok(file) => load(path, file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => create(path),
        Err(source) => Err(KeyError::Io { path: path.to_owned(), source }),
    }
}

fn load(path: &Path, file: File) -> Result<Keypair, KeyError> {
    let in_file = |source| KeyError::Io { path: path.to_owned(), source };
    let mode = file.metadata().map_err(in_file)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyError::Readable { path: path.to_owned(), mode });
    }
    let mut text = String::new();
    file.take(KEY_FILE_BYTES_MAX).read_to_string(&mut text).map_err(in_file)?;
    let identity = Identity::from_pem(&text);
    let identity = identity.map_err(|_| KeyError::Malformed { path: path.to_owned() })?;
    Ok(keypair(&identity))
}

fn create(path: &Path) -> Result<Keypair, KeyError> {
    let mut seed = [0; 32];
    seed.copy_from_slice(ed25519::SecretKey::generate().as_ref());
    let identity = Identity::from_seed(seed);
    let in_file = |source| KeyError::Io { path: path.to_owned(), source };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(in_file)?;
    }
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(in_file)?;
    file.write_all(identity.to_pem().as_bytes()).map_err(in_file)?;
    file.sync_all().map_err(in_file)?;
    Ok(keypair(&identity))
}

fn keypair(identity: &Identity) -> Keypair {
    Keypair::ed25519_from_bytes(identity.seed()).expect("any 32 bytes are an ed25519 seed")
}

/// A key file is 119 bytes; anything much longer is something else.
const KEY_FILE_BYTES_MAX: u64 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_made_on_the_first_run_is_read_on_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("home/key.pem");
        let first = load_or_create(&path).unwrap();
        let second = load_or_create(&path).unwrap();
        assert_eq!(first.public(), second.public());
        let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
    }

    #[test]
    fn a_key_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key.pem");
        load_or_create(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let error = load_or_create(&path).unwrap_err();
        assert!(matches!(error, KeyError::Readable { mode: 0o644, .. }), "{error}");
    }

    #[test]
    fn a_file_that_is_no_key_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key.pem");
        std::fs::write(&path, "garbage").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(load_or_create(&path), Err(KeyError::Malformed { .. })));
    }
}
