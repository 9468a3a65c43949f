//! What one node is told about itself: `node.toml` in its home. What all must agree on is in
//! `federation.toml` and never here.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::failure::Failure;

pub use witan_data::compute::{Compute, UnknownDevice};
pub use witan_data::source::{By, DataSource, Share};

/// The settings of one node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Addresses to listen on; port 0 lets the system choose.
    #[serde(default = "default_listen")]
    pub listen: Vec<String>,
    /// Where this member's data comes from.
    pub data: DataSource,
    /// Threads for training; a node of a testnet takes one.
    #[serde(default = "one")]
    pub threads: usize,
    /// Where training computes: "cpu" or "cuda".
    #[serde(default)]
    pub device: Compute,
    /// A folder of lock files: nodes on one machine that name the same folder take turns at its
    /// cores; in `node.toml` relative to that file's folder, unless absolute. Absent: train
    /// whenever there is something to train.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turns: Option<PathBuf>,
    /// The folder of the BLIP3o checkpoint that the federation trains, if it is not the embedded
    /// model; in `node.toml` relative to that file's folder, unless absolute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<PathBuf>,
    /// A lower adapter rank than the federation's, for a small machine; only with `flexlora`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rank: Option<usize>,
}

impl Settings {
    /// Reads and checks `path`.
    ///
    /// # Errors
    /// Names the file and, for a bad field, the line.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            Failure::input(format!("cannot read {}: {error}", path.display()))
                .hint("a node's home holds node.toml; `witan testnet` makes such homes")
        })?;
        let mut settings: Self = toml::from_str(&text).map_err(|error| {
            let line = error.span().map_or(1, |span| text[..span.start].lines().count().max(1));
            Failure::input(format!("{}, line {line}: {}", path.display(), error.message()))
        })?;
        settings.check().map_err(|what| Failure::input(format!("{}: {what}", path.display())))?;
        let home = path.parent().unwrap_or(Path::new("."));
        settings.data = settings.data.within(home);
        settings.turns = settings.turns.map(|turns| home.join(turns));
        settings.model = settings.model.map(|model| home.join(model));
        Ok(settings)
    }

    /// The file's text.
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(self).expect("settings hold nothing TOML cannot write")
    }

    fn check(&self) -> Result<(), String> {
        if self.listen.is_empty() {
            return Err("listen: name at least one address".into());
        }
        if self.threads == 0 || self.threads > 256 {
            return Err(format!("threads: expected 1 to 256, found {}", self.threads));
        }
        let share = self.data.share();
        if share.index >= share.of {
            return Err(format!("data.share: index {} of {} parts", share.index, share.of));
        }
        match share.alpha {
            Some(_) if share.by.is_some() => Err("data.share: give either alpha or by".into()),
            Some(alpha) if !(alpha > 0.0 && alpha.is_finite()) => {
                Err(format!("data.share.alpha: expected a positive number, found {alpha}"))
            }
            _ => Ok(()),
        }
    }
}

fn default_listen() -> Vec<String> {
    vec!["/ip4/0.0.0.0/tcp/4001".into(), "/ip4/0.0.0.0/udp/4001/quic-v1".into()]
}

fn one() -> usize {
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Settings {
        let share = Share { index: 3, of: 16, alpha: Some(0.5), by: None, seed: 7 };
        Settings {
            listen: vec!["/ip4/127.0.0.1/tcp/0".into()],
            data: DataSource::Scenes { seed: 7, share, count: None },
            threads: 1,
            device: Compute::Cuda,
            turns: None,
            model: None,
            rank: None,
        }
    }

    #[test]
    fn settings_survive_a_round_trip() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.toml");
        std::fs::write(&path, sample().to_toml()).unwrap();
        assert_eq!(Settings::read(&path).unwrap(), sample());
    }

    #[test]
    fn a_folder_is_relative_to_the_settings_that_name_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.toml");
        let text = "listen = [\"/ip4/127.0.0.1/tcp/0\"]\nturns = \"../turns\"\n\
                    [data]\nkind = \"vqa\"\npath = \"../vqa\"\n\
                    share = { index = 0, of = 2, seed = 7 }\n";
        std::fs::write(&path, text).unwrap();
        let share = Share { index: 0, of: 2, alpha: None, by: None, seed: 7 };
        let data = DataSource::Vqa { path: folder.path().join("../vqa"), captions: None, share };
        let settings = Settings::read(&path).unwrap();
        let turns = Some(folder.path().join("../turns"));
        assert_eq!(settings, Settings { data, device: Compute::Cpu, turns, ..sample() });
        std::fs::write(&path, settings.to_toml()).unwrap();
        assert_eq!(Settings::read(&path).unwrap(), settings);
    }

    #[test]
    fn captions_and_a_rule_of_sharing_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.toml");
        let text = "[data]\nkind = \"captions\"\npath = \"pairs.jsonl\"\n\
                    share = { index = 0, of = 2, by = \"modality\", seed = 7 }\n";
        std::fs::write(&path, text).unwrap();
        let share = Share { index: 0, of: 2, alpha: None, by: Some(By::Modality), seed: 7 };
        let data = DataSource::Captions { path: folder.path().join("pairs.jsonl"), share };
        assert_eq!(Settings::read(&path).unwrap().data, data);
        for (from, to, told) in [
            ("modality", "shape", "unknown variant `shape`"),
            ("by =", "alpha = 1.0, by =", "either alpha or by"),
            ("captions", "pairs", "`scenes`, `vqa`, `captions`"),
        ] {
            std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
            let refusal = Settings::read(&path).unwrap_err().message;
            assert!(refusal.contains("node.toml") && refusal.contains(told), "{refusal}");
        }
    }

    #[test]
    fn an_unknown_field_is_named_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.toml");
        std::fs::write(&path, format!("thread = 2\n{}", sample().to_toml())).unwrap();
        let failure = Settings::read(&path).unwrap_err();
        assert!(failure.message.contains("line 1"), "{}", failure.message);
        assert!(failure.message.contains("thread"), "{}", failure.message);
    }

    #[test]
    fn a_share_outside_the_partition_is_refused() {
        let mut settings = sample();
        let share = Share { index: 16, of: 16, alpha: None, by: None, seed: 7 };
        settings.data = DataSource::Scenes { seed: 7, share, count: None };
        assert!(settings.check().unwrap_err().contains("16 of 16"));
    }
}
