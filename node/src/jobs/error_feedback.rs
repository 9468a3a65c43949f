//! The error-feedback residual: what compression lost of this member's deltas, kept in its home and
//! added to the next one.
//!
//! Durable, but nothing depends on it: a file that is lost or damaged counts as no residual. The
//! last two rounds' are kept, because a member that dies before its update is out trains that round
//! again, and must then begin with the residual it had before.

use std::fs;
use std::io;
use std::path::PathBuf;

use witan_adapter::Adapter;
use witan_files::write_atomically;
use witan_protocol::member::Round;

/// The folder, one file a round.
#[derive(Clone, Debug)]
pub struct ErrorFeedback {
    folder: PathBuf,
}

impl ErrorFeedback {
    /// In this folder, which need not exist.
    pub fn within(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// The residual before `round`, if there is one that can be read.
    pub fn before(&self, round: Round, like: &Adapter) -> Option<Adapter> {
        let newest = self.rounds().into_iter().filter(|kept| *kept < round).max()?;
        Adapter::from_bytes(&fs::read(self.file(newest)).ok()?, like).ok()
    }

    /// Keeps the residual after `round`, durably, and forgets what no round can ask for any more.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn keep(&self, round: Round, residual: &Adapter) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        write_atomically(&self.file(round), &residual.to_bytes(), 0o600)?;
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
    use witan_model::trainable;

    #[test]
    fn a_round_begins_with_the_residual_before_it_however_often_it_is_trained() {
        let folder = tempfile::tempdir().unwrap();
        let feedback = ErrorFeedback::within(folder.path().join("owed"));
        let base = trainable::open(None).unwrap();
        let of = |round: u64| base.initial_adapter(&base.lora(), round);
        assert_eq!(feedback.before(Round(1), &of(0)), None);
        for round in 1..=4 {
            feedback.keep(Round(round), &of(round)).unwrap();
        }
        assert_eq!(feedback.before(Round(5), &of(0)), Some(of(4)));
        assert_eq!(feedback.before(Round(4), &of(0)), Some(of(3)), "round 4 is trained again");
        assert_eq!(feedback.before(Round(3), &of(0)), None, "forgotten");
        fs::write(feedback.file(Round(4)), b"damaged").unwrap();
        assert_eq!(feedback.before(Round(5), &of(0)), None, "damaged counts as nothing");
    }
}
