//! What `witan train` is asked for.

use serde::{Deserialize, Serialize};
use witan_home::Failure;

use super::{Spec, expect};

/// What to train; kept in the folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainSpec {
    /// The federation whose data, steps and batch are meant.
    #[serde(rename = "plan")]
    pub spec: Spec,
    /// Each member's part alone instead of all data in one place.
    pub is_local_only: bool,
    /// Threads of one training.
    pub threads: usize,
}

impl TrainSpec {
    /// The same with absolute paths and every default filled in.
    ///
    /// # Errors
    /// The first setting that is out of range.
    pub fn checked(self) -> Result<Self, Failure> {
        let hint = "1 is the default, and what a testnet's comparison takes";
        let is_right = (1..=256).contains(&self.threads);
        expect(is_right, ("threads", self.threads), "1 to 256", hint)?;
        Ok(Self { spec: self.spec.checked()?, ..self })
    }
}
