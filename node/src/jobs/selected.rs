//! The model a person means: what a home committed, a checkpoint in a folder, or the one in the
//! program.

use std::path::Path;
use std::sync::Arc;

use witan_adapter::{Committed, LoraConfig, peft};
use witan_files::Blobs;
use witan_home::{Failure, Home, audit, shell};
use witan_model::device::Device;
use witan_model::trainable::{self, BaseModel, Trainable};
use witan_protocol::digest::BlobRef;

use super::FederatedModel;

/// Where a model and its adapter lie.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// A home, and which of its rounds; none for the newest.
    Home(&'a Home, Option<u64>),
    /// A base model and an adapter for it.
    Model {
        /// The folder of a checkpoint; none: the model in the program.
        folder: Option<&'a Path>,
        /// A folder that PEFT or `witan export` wrote; none: the base alone.
        adapter: Option<&'a Path>,
    },
}

/// A base model with the adapter that belongs in it, not loaded.
pub struct AdaptedModel {
    /// The frozen model.
    pub base: Arc<dyn BaseModel>,
    /// How the adapter is applied.
    pub lora: LoraConfig,
    /// The adapter, and what its strategy added to the base.
    pub committed: Committed,
}

impl AdaptedModel {
    /// Reads it. A home without rounds has the adapter that all members start from.
    ///
    /// # Errors
    /// If the home, the round, its ledger or its adapter, or a folder, is not what it should be.
    pub fn open(source: Source<'_>) -> Result<Self, Failure> {
        match source {
            Source::Home(home, round) => Self::of_home(home, round),
            Source::Model { folder, adapter } => {
                let base = trainable::open(folder)?;
                let (adapter, lora) = match adapter {
                    Some(adapter) => base.import(adapter)?,
                    None => {
                        // The smallest that changes nothing.
                        let lora = LoraConfig { rank: 1, ..base.lora() };
                        (base.initial_adapter(&lora, 0), lora)
                    }
                };
                Ok(Self { base, lora, committed: Committed::plain(adapter) })
            }
        }
    }

    /// Loads the base and puts the adapter in.
    ///
    /// # Errors
    /// If it cannot be loaded.
    pub fn load(&self, device: &Device) -> Result<Box<dyn Trainable>, Failure> {
        let mut model = self.base.load(&self.lora, device)?;
        model.adopt(&self.committed)?;
        Ok(model)
    }

    /// Writes the adapter for PEFT.
    ///
    /// # Errors
    /// If the base is no longer as it was loaded, so that the adapter alone is not the model, or if
    /// the folder cannot be written.
    pub fn export(&self, folder: &Path) -> Result<(), Failure> {
        if !self.committed.residuals().is_empty() {
            return Err(Failure::input(
                "the strategy fedex added to the base: the adapter alone is not the model",
            )
            .hint("export the adapter of a federation with another strategy"));
        }
        peft::export(folder, &self.committed.adapter, &self.lora).map_err(|error| {
            Failure::environment(error).hint("name a folder you can write to with --peft")
        })
    }

    fn of_home(home: &Home, round: Option<u64>) -> Result<Self, Failure> {
        let federation = home.read_federation()?;
        let model = FederatedModel::of_home(home, &federation)?;
        model.check_base(&federation)?;
        let records = audit::committed(home, &federation, model.aggregation.start())?;
        let mut proposals = records.iter().map(|audited| &audited.record.proposal);
        let wanted = match round {
            None => proposals.next_back().map(|proposal| proposal.result),
            Some(0) => None,
            Some(number) => {
                let found = proposals.find(|proposal| proposal.round.0 == number);
                Some(found.ok_or_else(|| missing(number, records.len()))?.result)
            }
        };
        let committed = match wanted {
            None => Committed::plain((*model.aggregation.initial).clone()),
            Some(result) => read_committed(home, &model, &result)?,
        };
        Ok(Self { base: model.base, lora: model.lora, committed })
    }
}

/// The flags that name a base model, and an adapter for it, to `ask`, `draw` and `eval`.
pub fn flags(base: Option<&Path>, adapter: &Path) -> String {
    let model = base.map(|folder| format!("--model {} ", shell::word(folder))).unwrap_or_default();
    format!("{model}--adapter {}", shell::word(adapter))
}

fn read_committed(
    home: &Home,
    model: &FederatedModel,
    result: &BlobRef,
) -> Result<Committed, Failure> {
    let bytes = Blobs::open(home.blobs())?.read(result)?;
    model.aggregation.committed(&bytes).map_err(Failure::input)
}

fn missing(round: u64, known: usize) -> Failure {
    Failure::input(format!("round {round} is not committed here")).hint(match known {
        0 => "no round is committed here yet".to_owned(),
        known => format!("the rounds committed here are 1 to {known}"),
    })
}
