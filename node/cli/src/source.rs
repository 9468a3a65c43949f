//! The flags by which `ask`, `draw`, `eval` and `export` name a model, whichever it is.

use std::path::PathBuf;

use witan_home::{Failure, Home};
use witan_node::jobs::selected::{AdaptedModel, Source};

/// A home's model, or a base model with an adapter.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ModelArgs {
    /// A node's home folder, running or not.
    #[arg(long, value_name = "FOLDER")]
    pub home: Option<PathBuf>,
    /// A round of the home; 0 is what all members started from [default: the newest].
    #[arg(long, value_name = "NUMBER", requires = "home")]
    pub round: Option<u64>,
    /// A BLIP3o checkpoint's folder [default: the model in this program].
    #[arg(long, value_name = "FOLDER", conflicts_with = "home")]
    pub model: Option<PathBuf>,
    /// An adapter for that model, as Python's peft or `witan export` writes it [default: none].
    #[arg(long, value_name = "FOLDER", conflicts_with = "home")]
    pub adapter: Option<PathBuf>,
}

impl ModelArgs {
    /// Opens what the flags name; loads nothing.
    ///
    /// # Errors
    /// If there is no such home, round, checkpoint or adapter.
    pub(crate) fn open(&self) -> Result<AdaptedModel, Failure> {
        match &self.home {
            Some(home) => AdaptedModel::open(Source::Home(&Home::existing(home)?, self.round)),
            None => AdaptedModel::open(Source::Model {
                folder: self.model.as_deref(),
                adapter: self.adapter.as_deref(),
            }),
        }
    }

    /// What the flags name, in words.
    pub(crate) fn describe(&self) -> String {
        let Self { home, round, model, adapter } = self;
        if let Some(home) = home {
            let home = home.display();
            return match round {
                Some(round) => format!("round {round} of {home}"),
                None => format!("the newest round of {home}"),
            };
        }
        let base = model.as_ref().map(|folder| format!("the checkpoint in {}", folder.display()));
        match (base, adapter) {
            (Some(base), Some(adapter)) => {
                format!("{base} with the adapter in {}", adapter.display())
            }
            (None, Some(adapter)) => format!("the adapter in {}", adapter.display()),
            (base, None) => base.unwrap_or("the base".to_owned()) + ", without any adapter",
        }
    }
}

/// Refuses a question or caption without a word.
///
/// # Errors
/// If it is empty.
pub(crate) fn check_text(text: &str) -> Result<(), Failure> {
    match text.trim().is_empty() {
        true => Err(Failure::usage("the text is empty")
            .hint("such as \"what colour is the circle?\" or \"a red circle\"")),
        false => Ok(()),
    }
}
