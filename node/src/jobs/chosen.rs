//! The adapter a person means: what a home committed, or a folder of Python's PEFT.

use std::path::Path;
use std::sync::Arc;

use witan_files::Blobs;
use witan_home::{Failure, Home, audit};
use witan_model::{Adapter, Committed, LoraConfig, Umm, peft};
use witan_protocol::digest::BlobRef;

use super::device::Device;
use super::foundation::{Checkpoint, Foundation};
use super::{Ground, embedded_base};

/// Where an adapter lies.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// A home, and which of its rounds; none for the newest.
    Home(&'a Home, Option<u64>),
    /// A folder that PEFT or `witan export` wrote.
    Folder(&'a Path),
    /// The base that ships in the program, with no adapter.
    Base,
    /// A BLIP3o checkpoint's folder, and that of an adapter for it.
    Checkpoint(&'a Path, Option<&'a Path>),
}

/// An adapter with the base it belongs to.
pub struct Chosen {
    /// The frozen model.
    pub foundation: Foundation,
    /// How the adapter is applied.
    pub lora: LoraConfig,
    /// The adapter, and what its strategy added to the base.
    pub committed: Committed,
}

impl Chosen {
    /// Reads it. A home without rounds has the adapter that all members start from.
    ///
    /// # Errors
    /// If the home, the round, its ledger or its adapter, or the folder, is not what it should be.
    pub fn read(source: Source<'_>) -> Result<Self, Failure> {
        match source {
            Source::Home(home, round) => Self::of_home(home, round),
            Source::Folder(folder) => Self::of_folder(folder),
            Source::Base => Self::of_base(),
            Source::Checkpoint(folder, adapter) => Self::of_checkpoint(folder, adapter),
        }
    }

    /// The embedded model with the adapter in.
    ///
    /// # Errors
    /// If the adapter is a checkpoint's.
    pub fn umm(&self, device: &Device) -> Result<Umm, Failure> {
        let base = self.foundation.embedded()?;
        let mut umm = Umm::new(base, &self.lora, device).map_err(Failure::input)?;
        umm.set_committed(&self.committed).map_err(Failure::input)?;
        Ok(umm)
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
        export(folder, &self.committed.adapter, &self.lora)
            .map_err(|failure| failure.hint("name a folder you can write to with --peft"))
    }

    fn of_home(home: &Home, round: Option<u64>) -> Result<Self, Failure> {
        let federation = home.read_federation()?;
        let ground = Ground::of_home(home, &federation)?;
        ground.foundation.check(&federation)?;
        let records = audit::committed(home, &federation, ground.start())?;
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
            None => Committed::plain((*ground.initial).clone()),
            Some(result) => read_committed(home, &ground, &result)?,
        };
        Ok(Self { foundation: ground.foundation, lora: ground.lora, committed })
    }

    /// A fresh adapter changes nothing.
    fn of_base() -> Result<Self, Failure> {
        let (foundation, lora) = (Foundation::open(None)?, LoraConfig::default());
        let committed = Committed::plain(foundation.initial(&lora, 0));
        Ok(Self { foundation, lora, committed })
    }

    fn of_checkpoint(folder: &Path, adapter: Option<&Path>) -> Result<Self, Failure> {
        let checkpoint = Checkpoint::open(folder)?;
        let (adapter, lora) = match adapter {
            Some(adapter) => checkpoint.import(adapter)?,
            None => checkpoint.unadapted(),
        };
        let foundation = Foundation::Blip3o(Arc::new(checkpoint));
        Ok(Self { foundation, lora, committed: Committed::plain(adapter) })
    }

    fn of_folder(folder: &Path) -> Result<Self, Failure> {
        let base = embedded_base()?;
        let (adapter, lora) = peft::import(folder, &base.adaptable()).map_err(|error| {
            Failure::input(format!("{}: {error}", folder.display())).hint(
                "give a folder that `witan export --peft` wrote of the embedded model, or a plain LoRA of \
                 it that Python's peft saved; a checkpoint's adapter is for `witan model ask` and \
                 `witan eval --model`",
            )
        })?;
        let foundation = Foundation::Embedded(Arc::new(base));
        Ok(Self { foundation, lora, committed: Committed::plain(adapter) })
    }
}

/// Writes an adapter for PEFT.
///
/// # Errors
/// If the folder cannot be written.
pub fn export(folder: &Path, adapter: &Adapter, lora: &LoraConfig) -> Result<(), Failure> {
    peft::export(folder, adapter, lora).map_err(Failure::environment)
}

fn read_committed(home: &Home, ground: &Ground, result: &BlobRef) -> Result<Committed, Failure> {
    let bytes = Blobs::open(home.blobs())?.read(result)?;
    ground.committed(&bytes).map_err(Failure::input)
}

fn missing(round: u64, known: usize) -> Failure {
    Failure::input(format!("round {round} is not committed here")).hint(match known {
        0 => "no round is committed here yet".to_owned(),
        known => format!("the rounds committed here are 1 to {known}"),
    })
}
