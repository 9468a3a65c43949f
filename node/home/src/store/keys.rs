//! The file of a member's secret key: made once, readable by its owner alone, never overwritten.
//! What is in it is the protocol's business.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use super::append_file::sync_folder_of;
use super::error::StoreError;

/// Writes a new key file, mode 0600 from its first moment; refuses to replace one.
pub fn create(path: &Path, pem: &str) -> Result<(), StoreError> {
    let failed = |source| StoreError::io("cannot create the key", path, source);
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    let written = file.write_all(pem.as_bytes()).and_then(|()| file.sync_all());
    if let Err(source) = written {
        // Half a key would refuse to be made again.
        let _ = std::fs::remove_file(path);
        return Err(failed(source));
    }
    sync_folder_of(path)
}

/// Reads a key file, if nobody but its owner can.
pub fn read(path: &Path) -> Result<String, StoreError> {
    let failed = |source| StoreError::io("cannot read the key", path, source);
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(StoreError::KeyMissing { path: path.to_owned() });
        }
        opened => opened.map_err(failed)?,
    };
    let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(StoreError::KeyExposed { path: path.to_owned(), mode });
    }
    let mut pem = String::new();
    file.take(KEY_MAX_BYTES).read_to_string(&mut pem).map_err(failed)?;
    Ok(pem)
}

/// An ed25519 key in PEM form is 119 bytes; text around it is allowed, a wrong file is not read in.
const KEY_MAX_BYTES: u64 = 16 << 10;

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};

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
        for mode in [0o644, 0o640, 0o604, 0o620] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let error = read(&path).unwrap_err();
            assert!(matches!(error, StoreError::KeyExposed { .. }), "{error}");
            assert_eq!(error.hint().unwrap(), format!("chmod 600 {}", path.display()));
        }
    }
}
