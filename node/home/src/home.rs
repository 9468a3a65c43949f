//! The home folder of one node: where each thing lies, and the lock that keeps a second node out.
//!
//! ```text
//! key.pem               the member's secret key, mode 0600
//! federation.toml       what all members agreed on
//! node.toml             this node's own settings
//! journal/records.log   the ledger: the truth
//! journal/wal.log       the vote's steps of the rounds not yet committed
//! db/                   sled: an index over the journal, and the gossip log
//! blobs/ab/abcd…        adapters and deltas, named by digest
//! owed/7                what compression lost in round 7
//! targets/ab12…         image targets of captioned pictures
//! lock                  held while a node runs
//! control.sock          answers `witan status`
//! ```
//! Nothing else in the program spells one of these names.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use witan_protocol::digest::Digest;
use witan_protocol::member::MemberId;
use witan_protocol::{Federation, Identity};

use crate::error::StoreError;
use crate::{keys, shell};

/// The paths of one home folder; knows names, opens nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    root: PathBuf,
}

impl Home {
    /// The home at `root`, whether or not it exists.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The home at `root`, which must hold a federation file: commands that read start here.
    pub fn existing(root: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let home = Self::at(root);
        match home.federation_file().is_file() {
            true => Ok(home),
            false => Err(StoreError::NotAHome { path: home.root }),
        }
    }

    /// Makes the folder, for its owner only, with the folders inside it.
    pub fn create(&self) -> Result<(), StoreError> {
        for dir in [self.root.clone(), self.journal(), self.blobs()] {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&dir)
                .map_err(|source| StoreError::io("cannot create", &dir, source))?;
        }
        Ok(())
    }

    /// Takes the lock, or says which process holds it. Held until the value is dropped.
    pub fn lock(&self) -> Result<HomeLock, StoreError> {
        HomeLock::take(self)
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The command of ours that works on this home: `witan status --home witan-testnet/nodes/03`.
    pub fn command(&self, command: &str) -> String {
        shell::command(command, &self.root)
    }

    /// Makes this member's key from 32 secret random bytes, and says who the member is. Refuses to
    /// replace a key.
    pub fn create_key(&self, seed: [u8; 32]) -> Result<MemberId, StoreError> {
        self.create()?;
        let identity = Identity::from_seed(seed);
        keys::create(&self.key_file(), &identity.to_pem())?;
        Ok(identity.member())
    }

    /// This member's key, if nobody else can read it.
    pub fn read_key(&self) -> Result<Identity, StoreError> {
        let path = self.key_file();
        Identity::from_pem(&keys::read(&path)?).map_err(|_| StoreError::KeyInvalid { path })
    }

    /// What all members agreed on.
    pub fn read_federation(&self) -> Result<Federation, StoreError> {
        let path = self.federation_file();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(StoreError::NotAHome { path: self.root.clone() });
            }
            Err(source) => return Err(StoreError::io("cannot read", &path, source)),
        };
        Federation::from_toml(&text).map_err(|source| StoreError::Federation { path, source })
    }

    /// The member's secret key.
    pub fn key_file(&self) -> PathBuf {
        self.root.join("key.pem")
    }

    /// What all members agreed on.
    pub fn federation_file(&self) -> PathBuf {
        self.root.join("federation.toml")
    }

    /// This node's own settings.
    pub fn settings_file(&self) -> PathBuf {
        self.root.join("node.toml")
    }

    /// The control socket of the running node.
    pub fn control_socket(&self) -> PathBuf {
        self.root.join("control.sock")
    }

    /// The folder of the append-only files.
    pub fn journal(&self) -> PathBuf {
        self.root.join("journal")
    }

    /// The ledger: every committed round record.
    pub fn records_log(&self) -> PathBuf {
        self.journal().join("records.log")
    }

    /// The write-ahead log of the rounds not yet committed.
    pub fn wal_log(&self) -> PathBuf {
        self.journal().join("wal.log")
    }

    /// The sled index and gossip log.
    pub fn db(&self) -> PathBuf {
        self.root.join("db")
    }

    /// The folder of adapters and adapter deltas.
    pub fn blobs(&self) -> PathBuf {
        self.root.join("blobs")
    }

    /// Where the blob of this digest lies, if it is here.
    pub fn blob(&self, digest: &Digest) -> PathBuf {
        let name = digest.to_string();
        self.blobs().join(&name[..2]).join(name)
    }

    /// The folder of what compression lost and later deltas will bring.
    pub fn owed(&self) -> PathBuf {
        self.root.join("owed")
    }

    /// The folder of what drawings of captioned pictures should become.
    pub fn targets(&self) -> PathBuf {
        self.root.join("targets")
    }

    fn lock_file(&self) -> PathBuf {
        self.root.join("lock")
    }
}

/// Proof that this process alone works in a home. The kernel frees it when the process ends,
/// however it ends, so a left-over lock file means nothing.
#[derive(Debug)]
pub struct HomeLock {
    _file: File,
}

impl HomeLock {
    fn take(home: &Home) -> Result<Self, StoreError> {
        let path = home.lock_file();
        let failed = |source| StoreError::io("cannot lock", &path, source);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::Busy { home: home.root.clone(), pid: holder(&mut file) });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        write_pid(&mut file).map_err(failed)?;
        Ok(Self { _file: file })
    }
}

fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn write_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    writeln!(file, "{}", std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_is_locked_once_and_the_second_is_told_by_whom() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path());
        let lock = home.lock().unwrap();
        let error = home.lock().unwrap_err();
        let expected = format!("already running as process {}", std::process::id());
        assert!(error.to_string().contains(&expected), "{error}");
        drop(lock);
        home.lock().unwrap();
    }

    #[test]
    fn a_folder_without_a_federation_is_not_a_home() {
        let dir = tempfile::tempdir().unwrap();
        let error = Home::existing(dir.path()).unwrap_err();
        assert!(error.to_string().contains("is not a node's home"), "{error}");
        assert!(error.hint().is_some());
    }

    #[test]
    fn blobs_are_spread_over_folders_by_their_first_two_digits() {
        let path = Home::at("h").blob(&Digest([0xab; 32]));
        assert_eq!(path, Path::new("h/blobs/ab").join("ab".repeat(32)));
    }
}
