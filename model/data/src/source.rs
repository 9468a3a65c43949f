//! Where members' data come from, and which part of it is whose: what `node.toml` and the command
//! line name.

mod read;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub(crate) use read::can_draw;
pub use read::{Extent, MemberData, Pool, SCENES_PER_MEMBER, Teachable, can_learn};

/// A member's data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum DataSource {
    /// The embedded scenes.
    Scenes {
        /// Seed of the scenes; the same on every member.
        seed: u64,
        /// Which part of them is this member's.
        share: Share,
        /// Scenes in all; absent: 300 for each part.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        count: Option<usize>,
    },
    /// A folder of VQA v2's own files.
    Vqa {
        /// The folder; in `node.toml` relative to that file's folder, unless absolute.
        path: PathBuf,
        /// A file of image and caption pairs beside it, in place of the folder's own captions.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        captions: Option<PathBuf>,
        /// Which part of its training split is this member's.
        share: Share,
    },
    /// A file of image and caption pairs.
    Captions {
        /// The file; in `node.toml` relative to that file's folder, unless absolute.
        path: PathBuf,
        /// Which part of what is not held out is this member's.
        share: Share,
    },
}

impl DataSource {
    /// Which part of the data is this member's.
    pub fn share(&self) -> &Share {
        match self {
            Self::Scenes { share, .. } | Self::Vqa { share, .. } | Self::Captions { share, .. } => {
                share
            }
        }
    }

    /// What a person gives for it: the embedded scenes, or files.
    pub fn of(vqa: Option<PathBuf>, captions: Option<PathBuf>, seed: u64, share: Share) -> Self {
        match (vqa, captions) {
            (Some(path), captions) => Self::Vqa { path, captions, share },
            (None, Some(path)) => Self::Captions { path, share },
            (None, None) => Self::Scenes { seed, share, count: None },
        }
    }

    /// The same with so many scenes, if it is the embedded ones.
    pub fn with_scenes(self, count: Option<usize>) -> Self {
        match self {
            Self::Scenes { seed, share, .. } => Self::Scenes { seed, share, count },
            files => files,
        }
    }

    /// Its paths as seen from `folder`.
    pub fn within(self, folder: &Path) -> Self {
        match self {
            Self::Scenes { .. } => self,
            Self::Vqa { path, captions, share } => Self::Vqa {
                path: folder.join(path),
                captions: captions.map(|file| folder.join(file)),
                share,
            },
            Self::Captions { path, share } => Self::Captions { path: folder.join(path), share },
        }
    }
}

impl fmt::Display for DataSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scenes { seed, .. } => write!(formatter, "embedded scenes of seed {seed}"),
            Self::Captions { path, .. } => write!(formatter, "{}", path.display()),
            Self::Vqa { path, captions: None, .. } => write!(formatter, "{}", path.display()),
            Self::Vqa { path, captions: Some(file), .. } => {
                write!(formatter, "{} with {}", path.display(), file.display())
            }
        }
    }
}

/// One part of a partition that every member computes alike.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Share {
    /// This member's part, from 0.
    pub index: usize,
    /// Parts in all.
    pub of: usize,
    /// Dirichlet concentration over the answers; absent: identically distributed parts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alpha: Option<f64>,
    /// A rule in place of `alpha`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<By>,
    /// Seed of the partition.
    pub seed: u64,
}

/// Kinds of data that members do not share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum By {
    /// A member has questions of one answer type.
    AnswerType,
    /// A member has questions, the next captions.
    Modality,
}

impl fmt::Display for By {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::AnswerType => "answer-type",
            Self::Modality => "modality",
        })
    }
}

impl FromStr for By {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::AnswerType, Self::Modality]
            .into_iter()
            .find(|by| by.to_string() == text)
            .ok_or("expected answer-type or modality")
    }
}
