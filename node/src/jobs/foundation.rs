//! What a federation's members adapt: the model in the program, or a BLIP3o checkpoint in a folder of each member's.
//!
//! A federation names it by a digest. That of the embedded model needs nothing else; of a checkpoint each member says
//! in `node.toml` where it has it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use witan_home::settings::{DataSource, Settings};
use witan_home::{Failure, Home, shell};
use witan_model::data::tokenizer::Tokenizer;
use witan_model::families::blip3o::{Blip3o, Blip3oConfig};
use witan_model::inspect::checkpoint::CheckpointInfo;
use witan_model::{Adapter, Base, LoraConfig, peft, strategy};
use witan_protocol::digest::Digest;
use witan_protocol::federation::{Federation, Strategy};

use super::checkpoint::{self, bad};
use super::shard::Taught;
use super::tower::{self, Tower};
use super::{base_digest, embedded_base};

/// A frozen model.
#[derive(Clone)]
pub enum Foundation {
    /// The one in the program.
    Embedded(Arc<Base>),
    /// One in a folder, of which this is what its headers say.
    Blip3o(Arc<Checkpoint>),
}

/// A BLIP3o checkpoint that is not loaded.
#[derive(Debug)]
pub struct Checkpoint {
    /// Its folder.
    pub folder: PathBuf,
    /// What lies there.
    pub survey: CheckpointInfo,
    /// Its sizes.
    pub config: Blip3oConfig,
}

impl Foundation {
    /// The model in the program, or the checkpoint in a folder.
    ///
    /// # Errors
    /// If the folder holds no whole BLIP3o.
    pub fn open(folder: Option<&Path>) -> Result<Self, Failure> {
        let Some(folder) = folder else { return Ok(Self::Embedded(Arc::new(embedded_base()?))) };
        Ok(Self::Blip3o(Arc::new(Checkpoint::open(folder)?)))
    }

    /// The one that a home's federation trains.
    ///
    /// # Errors
    /// If it is not the embedded one and `node.toml` does not say where it lies, or nothing whole lies there.
    pub fn of(home: &Home, federation: &Federation) -> Result<Self, Failure> {
        let embedded = embedded_base()?;
        if base_digest(&embedded) == federation.document().base {
            return Ok(Self::Embedded(Arc::new(embedded)));
        }
        match Settings::read(&home.settings_file())?.model {
            Some(folder) => Self::open(Some(&folder)),
            None => Err(other_base(federation, &base_digest(&embedded), "this program's")),
        }
    }

    /// Reads all of it and checks that it is the one the federation names.
    ///
    /// # Errors
    /// If it is another, or cannot be read.
    pub fn check(&self, federation: &Federation) -> Result<(), Failure> {
        let found = self.digest()?;
        match found == federation.document().base {
            true => Ok(()),
            false => Err(other_base(federation, &found, "this one's")),
        }
    }

    /// The digest by which a federation names it: of the embedded one sizes and weights, of a checkpoint every file
    /// that says what it computes.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn digest(&self) -> Result<Digest, Failure> {
        match self {
            Self::Embedded(base) => Ok(base_digest(base)),
            Self::Blip3o(checkpoint) => checkpoint.digest(),
        }
    }

    /// Refuses a strategy that cannot be used with it.
    ///
    /// # Errors
    /// Why not.
    pub fn takes(&self, strategy: Strategy) -> Result<(), Failure> {
        match (self, strategy) {
            (Self::Blip3o(_), Strategy::FedEx) => {
                let message =
                    "the strategy fedex adds to the base, and a checkpoint's stays as it is stored";
                Err(Failure::input(message).hint("agree on another strategy, such as flexlora"))
            }
            _ => Ok(()),
        }
    }

    /// Refuses a target that no layer is called by.
    ///
    /// # Errors
    /// Which it is.
    pub fn has_layers(&self, lora: &LoraConfig) -> Result<(), Failure> {
        let initial = self.initial(lora, 0);
        let layers: Vec<_> = strategy::layers(&initial).map(|layer| layer.path).collect();
        let adapts_none = |target: &&String| {
            let one = LoraConfig { targets: vec![target.to_string()], ..lora.clone() };
            !layers.iter().any(|layer| one.adapts(layer))
        };
        match lora.targets.iter().find(adapts_none) {
            None => Ok(()),
            Some(target) => Err(Failure::input(format!(
                "LoRA's targets: no layer of the model is called {target:?}"
            ))
            .hint(format!(
                "name the ends of layers' names; usual are {}",
                self.lora().targets.join(",")
            ))),
        }
    }

    /// What makes a checkpoint's targets, if it has that.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn tower(&self) -> Result<Option<Tower>, Failure> {
        match self {
            Self::Embedded(_) => Ok(None),
            Self::Blip3o(checkpoint) => Tower::of(checkpoint),
        }
    }

    /// The same, checked to be the one the federation names, if it names one.
    ///
    /// # Errors
    /// If it is another, or cannot be read.
    pub fn agreed_tower(&self, federation: &Federation) -> Result<Option<Tower>, Failure> {
        let tower = self.tower()?;
        match (&tower, federation.document().tower) {
            (Some(found), Some(named)) if found.digest != named => Err(Failure::input(format!(
                "{}: federation.toml names the tower {}, this one is {}",
                found.folder().display(),
                named.short(),
                found.digest.short()
            ))
            .hint("every member that learns to draw needs the same tower; one without it learns to answer")),
            _ => Ok(tower),
        }
    }

    /// How an adapter of it is usually made.
    pub fn lora(&self) -> LoraConfig {
        match self {
            Self::Embedded(_) => LoraConfig::default(),
            Self::Blip3o(checkpoint) => checkpoint::lora(&checkpoint.survey, RANK),
        }
    }

    /// The adapter before round 1: it changes nothing.
    pub fn initial(&self, lora: &LoraConfig, seed: u64) -> Adapter {
        match self {
            Self::Embedded(base) => Adapter::init(&base.adaptable(), lora, seed),
            Self::Blip3o(checkpoint) => {
                Adapter::init(&Blip3o::adaptable(&checkpoint.config), lora, seed)
            }
        }
    }

    /// The only words it can be taught; none: it reads all.
    pub fn words(&self) -> Option<Tokenizer> {
        matches!(self, Self::Embedded(_)).then(Tokenizer::new)
    }

    /// Whether it can be taught to draw: a checkpoint needs the tower that makes targets.
    ///
    /// # Errors
    /// If that is damaged.
    pub fn draws(&self) -> Result<bool, Failure> {
        match self {
            Self::Embedded(_) => Ok(true),
            Self::Blip3o(checkpoint) => Ok(tower::bytes(&checkpoint.folder)?.is_some()),
        }
    }

    /// Of which kinds data have what it can be taught.
    ///
    /// # Errors
    /// If the source is wrong, or the tower is damaged.
    pub fn taught(&self, data: &DataSource) -> Result<Taught, Failure> {
        let taught = Taught::of(data, self.words().as_ref())?;
        Ok(Taught { captions: taught.captions && self.draws()?, ..taught })
    }

    /// What to do about data it cannot be taught.
    pub fn what_can_be_taught(&self) -> &'static str {
        match self {
            Self::Embedded(_) => "the words a member can be taught: witan ask --words",
            Self::Blip3o(_) => {
                "see that every picture can be read; docs/INSTITUTIONS.md says what captions need"
            }
        }
    }

    /// How to ask what was exported to `adapter`.
    pub fn ask_command(&self, adapter: &Path) -> String {
        let (witan, adapter) = (shell::witan(), shell::word(adapter));
        match self {
            Self::Embedded(_) => format!("{witan} ask --adapter {adapter} PICTURE QUESTION"),
            Self::Blip3o(checkpoint) => {
                let folder = shell::word(&checkpoint.folder);
                format!("{witan} model ask {folder} PICTURE QUESTION --adapter {adapter}")
            }
        }
    }

    /// The bytes of all its numbers in f32.
    pub fn full_bytes(&self) -> u64 {
        4 * match self {
            Self::Embedded(base) => base.parameter_count() as u64,
            Self::Blip3o(checkpoint) => checkpoint.survey.parameter_count(),
        }
    }

    /// The one in a folder.
    ///
    /// # Errors
    /// If it is the embedded one.
    pub fn checkpoint(&self) -> Result<&Arc<Checkpoint>, Failure> {
        match self {
            Self::Embedded(_) => Err(Failure::input("the embedded model is no checkpoint")),
            Self::Blip3o(checkpoint) => Ok(checkpoint),
        }
    }

    /// The one in the program.
    ///
    /// # Errors
    /// If it is a checkpoint: what was asked for is done for the embedded model only.
    pub fn embedded(&self) -> Result<&Arc<Base>, Failure> {
        match self {
            Self::Embedded(base) => Ok(base),
            Self::Blip3o(checkpoint) => {
                let folder = checkpoint.folder.display();
                let message = format!("what is adapted is {folder}, not the embedded model");
                Err(Failure::input(message).hint(
                    "write the adapter with `witan export --peft DIR` and give it to `witan model \
                     ask` or `witan model draw` with --adapter DIR",
                ))
            }
        }
    }
}

impl Checkpoint {
    /// The one in a folder, whose headers are read.
    ///
    /// # Errors
    /// If the folder holds no whole BLIP3o.
    pub fn open(folder: &Path) -> Result<Self, Failure> {
        let survey = checkpoint::survey(folder)?;
        checkpoint::is_whole(folder, &survey)?;
        let Some(config) = survey.blip3o.clone() else {
            let message = format!("a {} neither sees nor draws", survey.kind);
            return Err(bad(folder, &message)
                .hint("give a BLIP3o checkpoint; `witan model say` asks a language model"));
        };
        Ok(Self { folder: folder.to_owned(), survey, config })
    }

    /// An adapter for it that Python's peft or `witan export` wrote.
    ///
    /// # Errors
    /// If it is none, or another model's.
    pub fn import(&self, adapter: &Path) -> Result<(Adapter, LoraConfig), Failure> {
        peft::import(adapter, &Blip3o::adaptable(&self.config))
            .map_err(|error| bad(adapter, &error))
    }

    /// The smallest adapter that changes nothing.
    pub fn unadapted(&self) -> (Adapter, LoraConfig) {
        let lora = checkpoint::lora(&self.survey, 1);
        (Adapter::init(&Blip3o::adaptable(&self.config), &lora, 0), lora)
    }

    fn digest(&self) -> Result<Digest, Failure> {
        let weights = self.survey.files.paths().iter().cloned();
        let others = OTHERS.map(|name| self.folder.join(name)).into_iter();
        digest_of("witan base checkpoint", others.filter(|path| path.exists()).chain(weights))
    }
}

/// The digest of files, each with its name.
pub(super) fn digest_of(
    kind: &str,
    files: impl Iterator<Item = PathBuf>,
) -> Result<Digest, Failure> {
    let mut whole = String::new();
    for path in files {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let mut hasher = blake3::Hasher::new();
        File::open(&path)
            .and_then(|file| hasher.update_reader(file).map(drop))
            .map_err(|error| bad(&path, &error))?;
        whole += &format!("{name} {}\n", hasher.finalize().to_hex());
    }
    Ok(Digest::of_kind(kind, whole.as_bytes()))
}

fn other_base(federation: &Federation, found: &Digest, whose: &str) -> Failure {
    let named = federation.document().base.short();
    Failure::input(format!(
        "the base model differs: federation.toml names {named}, {whose} is {}",
        found.short()
    ))
    .hint(
        "every member needs the same base: the same release of this program, or the same \
         checkpoint, whose folder node.toml names with `model`",
    )
}

/// FedUMM's rank.
const RANK: usize = 16;
/// What says how weights are used, beside them.
const OTHERS: [&str; 3] = ["config.json", "preprocessor_config.json", "tokenizer.json"];
