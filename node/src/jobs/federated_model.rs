//! The model of a federation as this node holds it: base, LoRA configuration, the adapter all start
//! from, and how updates are written and combined.

use std::sync::Arc;

use witan_adapter::{LoraConfig, strategy};
use witan_home::aggregation::{Aggregation, strategy_of};
use witan_home::settings::Settings;
use witan_home::{Failure, Home};
use witan_model::trainable::{self, BaseModel, TOWER_FOLDER};
use witan_protocol::digest::Digest;
use witan_protocol::federation::{Federation, Training};

/// What members adapt, and how.
#[derive(Clone, Debug)]
pub struct FederatedModel {
    /// The frozen model.
    pub base: Arc<dyn BaseModel>,
    /// How the adapter is applied.
    pub lora: LoraConfig,
    /// The adapter that all start from, and how updates are written and combined.
    pub aggregation: Aggregation,
}

impl FederatedModel {
    /// The one of a home's federation; the base is neither loaded nor checked to be the one that is
    /// named.
    ///
    /// # Errors
    /// If the base is neither the embedded one nor where `node.toml` says.
    pub fn of_home(home: &Home, federation: &Federation) -> Result<Self, Failure> {
        let embedded = trainable::open(None)?;
        let found = Digest(embedded.digest()?);
        if found == federation.document().base {
            return Self::new(embedded, federation);
        }
        match Settings::read(&home.settings_file())?.model {
            Some(folder) => Self::new(trainable::open(Some(&folder))?, federation),
            None => Err(other_base(federation, &found, "this program's")),
        }
    }

    /// The one that `federation` makes of a base.
    ///
    /// # Errors
    /// If the federation's strategy cannot be used with it, or a target of its adapter is no layer
    /// of it.
    pub fn new(base: Arc<dyn BaseModel>, federation: &Federation) -> Result<Self, Failure> {
        let document = federation.document();
        let lora = LoraConfig {
            rank: document.lora.rank as usize,
            alpha: document.lora.alpha,
            dropout: document.lora.dropout,
            targets: document.lora.targets.clone(),
        };
        base.check_strategy(&strategy_of(document.training.strategy))?;
        base.check_targets(&lora)?;
        Ok(Self::of(base, lora, &document.training, document.seed))
    }

    /// The same without a federation.
    pub fn of(base: Arc<dyn BaseModel>, lora: LoraConfig, training: &Training, seed: u64) -> Self {
        let initial = Arc::new(base.initial_adapter(&lora, seed));
        Self { base, lora, aggregation: Aggregation::new(initial, training) }
    }

    /// Reads all of the base and checks that it is the one the federation names.
    ///
    /// # Errors
    /// If it is another, or cannot be read.
    pub fn check_base(&self, federation: &Federation) -> Result<(), Failure> {
        let found = Digest(self.base.digest()?);
        match found == federation.document().base {
            true => Ok(()),
            false => Err(other_base(federation, &found, "this one's")),
        }
    }

    /// Reads all of the tower that makes drawings' targets, if there is one, and checks that it is
    /// the one the federation names, if it names one. Returns whether there is one.
    ///
    /// # Errors
    /// If it is another, or cannot be read.
    pub fn check_tower(&self, federation: &Federation) -> Result<bool, Failure> {
        let found = self.base.tower_digest()?.map(Digest);
        match (found, federation.document().tower) {
            (Some(found), Some(named)) if found != named => {
                let folder = self.base.folder().unwrap_or("".as_ref()).join(TOWER_FOLDER);
                Err(Failure::input(format!(
                    "{}: federation.toml names the tower {}, this one is {}",
                    folder.display(),
                    named.short(),
                    found.short()
                ))
                .hint(
                    "every member that learns to draw needs the same tower; one without it learns \
                     to answer",
                ))
            }
            _ => Ok(found.is_some()),
        }
    }

    /// The adapted layers, in the order in which records list them.
    pub fn layers(&self) -> Vec<String> {
        strategy::layers(&self.aggregation.initial).map(|layer| layer.path).collect()
    }
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
