//! What compression lost of this member's deltas, kept in its home and added to the next one.
//!
//! Durable, but nothing depends on it: a file that is lost or damaged counts as nothing owed. The last two rounds'
//! are kept, because a member that dies before its update is out trains that round again, and must then begin with
//! what it owed before.

use std::fs;
use std::io;
use std::path::PathBuf;

use witan_files::write_atomically;
use witan_model::Adapter;
use witan_protocol::member::Round;

/// The folder, one file a round.
#[derive(Clone, Debug)]
pub struct Owed {
    folder: PathBuf,
}

impl Owed {
    /// In this folder, which need not exist.
    pub fn within(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// What was owed before `round`, if anything that can be read.
    pub fn before(&self, round: Round, like: &Adapter) -> Option<Adapter> {
        let newest = self.rounds().into_iter().filter(|kept| *kept < round).max()?;
        Adapter::from_bytes(&fs::read(self.file(newest)).ok()?, like).ok()
    }

    /// Keeps what is owed after `round`, durably, and forgets what no round can ask for any more.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn keep(&self, round: Round, owed: &Adapter) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        write_atomically(&self.file(round), &owed.to_bytes(), 0o600)?;
        let previous = self.rounds().into_iter().filter(|kept| *kept < round).max();
        for old in self.rounds().into_iter().filter(|kept| Some(*kept) < previous) {
            fs::remove_file(self.file(old))?;
        }
        Ok(())
    }

    fn rounds(&self) -> Vec<Round> {
        let files = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        files.filter_map(|file| file.file_name().to_str()?.parse().ok().map(Round)).collect()
    }

    fn file(&self, round: Round) -> PathBuf {
        self.folder.join(round.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::{LoraConfig, embedded_base};

    #[test]
    fn a_round_begins_with_what_was_owed_before_it_however_often_it_is_trained() {
        let folder = tempfile::tempdir().unwrap();
        let owed = Owed::within(folder.path().join("owed"));
        let base = embedded_base().unwrap();
        let of = |round: u64| Adapter::init(&base.adaptable(), &LoraConfig::default(), round);
        assert_eq!(owed.before(Round(1), &of(0)), None);
        for round in 1..=4 {
            owed.keep(Round(round), &of(round)).unwrap();
        }
        assert_eq!(owed.before(Round(5), &of(0)), Some(of(4)));
        assert_eq!(owed.before(Round(4), &of(0)), Some(of(3)), "round 4 is trained again");
        assert_eq!(owed.before(Round(3), &of(0)), None, "forgotten");
        fs::write(owed.file(Round(4)), b"damaged").unwrap();
        assert_eq!(owed.before(Round(5), &of(0)), None, "damaged counts as nothing");
    }
}
