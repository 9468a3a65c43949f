//! The federation: its members and everything they must agree on, as people edit it and as digests.
//!
//! The document is TOML. Its [`FederationId`] is the digest of the canonical CBOR of everything but
//! the operational parts (addresses and bootstrap peers): it separates the domains of every
//! signature. Must never accept a document two members could read differently. Its members are the
//! founders; the members of a later round follow from the ledger: see [`Roster`].

pub mod choice;
pub mod compression;
pub mod hello;
pub mod roster;
pub mod strategy;

use std::collections::BTreeSet;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::codec;
use crate::digest::Digest;
use crate::flaw::{Flaw, require};
use crate::identity;
use crate::member::{MemberId, Round};
pub use choice::ChoiceError;
pub use compression::Compression;
pub use roster::Roster;
pub use strategy::{Server, Strategy};

/// Names a federation: two documents with the same id are the same federation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FederationId(pub Digest);

/// A checked document: members are sorted by name, unique, and have usable keys.
#[derive(Clone, Debug, PartialEq)]
pub struct Federation {
    document: Document,
    id: FederationId,
    founders: Arc<Roster>,
}

/// `federation.toml`, field by field. [`Federation::new`] checks it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// The federation's name; 1 to 64 characters.
    pub name: String,
    /// Seeds the data partition, the adapter's first values and nothing secret.
    pub seed: u64,
    /// Digest of the frozen base model, in hexadecimal.
    pub base: Digest,
    /// Digest of the tower that makes BLIP3o's training targets. [default: none; each member has
    /// its own, or none]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tower: Option<Digest>,
    /// Addresses of bootstrap peers; operational.
    #[serde(default)]
    pub bootstrap: Vec<String>,
    /// The adapter.
    pub lora: Lora,
    /// The training.
    pub training: Training,
    /// The vote.
    pub council: Council,
    /// The institutions.
    pub members: Vec<Member>,
}

/// One institution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Its name; unique, 1 to 64 characters.
    pub name: String,
    /// Its ed25519 public key, in hexadecimal.
    pub key: MemberId,
    /// Where it may be reached; operational.
    #[serde(default)]
    pub addresses: Vec<String>,
    /// Multiplies its steps when updates are averaged; every member has one vote whatever it is.
    #[serde(default = "one")]
    pub weight: u32,
}

/// The LoRA adapter every member trains.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lora {
    /// Rank of the factors, 1 to 1024.
    pub rank: u32,
    /// Scale numerator: the product of the factors is multiplied by alpha / rank.
    pub alpha: f64,
    /// Dropout on the adapter's input, 0 up to but not including 1.
    pub dropout: f64,
    /// Names of the linear layers that carry an adapter.
    pub targets: Vec<String>,
}

/// What a member does in a round.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Training {
    /// Rounds in all, 1 to 4096: a participant keeps every record at hand.
    pub rounds: u64,
    /// Optimizer steps a member takes in a round.
    pub local_steps: u32,
    /// Questions in a step's batch.
    pub batch_questions: u32,
    /// Captions in a step's batch.
    pub batch_captions: u32,
    /// Batches whose mean gradient makes one step. [default: 1]
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub accumulation: u32,
    /// Gradients whose norm over all tensors is above this are scaled down to it. [default: none]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gradient_norm_max: Option<f64>,
    /// The optimizer's learning rate in the first step of the first round.
    pub learning_rate: f64,
    /// The learning rate in the last step of the last round, reached along half a cosine.
    pub learning_rate_final: f64,
    /// The optimizer's weight decay.
    pub weight_decay: f64,
    /// How updates are combined.
    pub strategy: Strategy,
    /// How deltas are written. [default: none, 32-bit floats]
    #[serde(default, skip_serializing_if = "Compression::is_none")]
    pub compression: Compression,
}

/// How a round is decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Council {
    /// What members may do wrong; sets the quorum. [default: byzantine]
    #[serde(default = "byzantine")]
    pub fault_model: FaultModel,
    /// How long a round waits for slow but live members, in seconds.
    pub round_deadline_s: u64,
    /// How long view 0 waits for its aggregator, in milliseconds; later views wait longer.
    /// [default: 2000]
    #[serde(default = "view_timeout_ms")]
    pub view_timeout_ms: u64,
    /// For how many rounds an update that missed its own may still count, with less weight.
    /// [default: 0]
    #[serde(default, skip_serializing_if = "is_zero")]
    pub late_rounds: u64,
}

/// What the quorum must survive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultModel {
    /// Less than a third lies or is dead: more than 2/3 must vote (16 members: 11).
    Byzantine,
    /// Less than half is dead and nobody lies: more than 1/2 must vote (3 members: 2).
    Crash,
}

/// What is wrong with a document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FederationError {
    /// Not TOML, an unknown or missing field, or a value of the wrong type.
    #[error("federation file, line {line}: {what}")]
    Syntax {
        /// Where, from 1.
        line: usize,
        /// What, in one line.
        what: String,
    },
    /// A field whose value cannot be used; its path is such as `members[3].key`.
    #[error("federation file: {0}")]
    Field(Flaw),
}

/// Members a federation may have. A proposal carries every update envelope (about 370 bytes each)
/// and must fit one gossip message; more members would need a committee that verifies.
pub const MEMBERS_MAX: usize = 64;

/// Rounds an update may be late: a change trained from an older adapter is of little use to a newer
/// one.
pub const LATE_ROUNDS_MAX: u64 = 4;

/// Rounds a federation may have: a participant keeps every record at hand.
pub const ROUNDS_MAX: u64 = 4096;

impl Federation {
    /// Checks a document.
    pub fn new(mut document: Document) -> Result<Self, FederationError> {
        document.members.sort_by(|a, b| a.name.cmp(&b.name));
        check(&document).map_err(FederationError::Field)?;
        let id = id_of(&document);
        let (model, members) = (document.council.fault_model, document.members.clone());
        let founders = Arc::new(Roster::new(id, model, Round(1), members));
        Ok(Self { document, id, founders })
    }

    /// Reads `federation.toml`.
    pub fn from_toml(text: &str) -> Result<Self, FederationError> {
        Self::new(toml::from_str(text).map_err(|error| syntax(text, &error))?)
    }

    /// Writes `federation.toml`.
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(&self.document).expect("a checked document is plain data")
    }

    /// The fields.
    pub fn document(&self) -> &Document {
        &self.document
    }

    /// The digest of everything members must agree on.
    pub fn id(&self) -> FederationId {
        self.id
    }

    /// The roster of the first round.
    pub fn founders(&self) -> &Arc<Roster> {
        &self.founders
    }
}

impl Member {
    /// Who it is.
    pub fn id(&self) -> MemberId {
        self.key
    }
}

impl fmt::Display for FederationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for FederationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The id covers a copy without the operational parts.
fn id_of(document: &Document) -> FederationId {
    let mut agreed = document.clone();
    agreed.bootstrap.clear();
    for member in &mut agreed.members {
        member.addresses.clear();
    }
    FederationId(Digest::of_kind("witan 1 federation", &codec::encode(&agreed)))
}

fn syntax(text: &str, error: &toml::de::Error) -> FederationError {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let said: String = text.lines().nth(line - 1).unwrap_or_default().chars().take(80).collect();
    let message = error.message().replace('\n', ", ");
    FederationError::Syntax { line, what: format!("{message}, in `{}`", said.trim()) }
}

fn check(document: &Document) -> Result<(), Flaw> {
    require(is_name(&document.name), "name", NAME_EXPECTED, &document.name)?;
    check_members(&document.members)?;
    check_lora(&document.lora)?;
    check_training(&document.training)?;
    let council = &document.council;
    within("council.round_deadline_s", council.round_deadline_s, 1..=604_800)?;
    within("council.view_timeout_ms", council.view_timeout_ms, 50..=600_000)?;
    let late = council.late_rounds;
    within("council.late_rounds", late, 0..=LATE_ROUNDS_MAX)?;
    let fits = late == 0 || document.training.strategy.takes_late_updates();
    require(fits, "council.late_rounds", "0 with this strategy: see docs/STRATEGIES.md", late)
}

/// Whether members make a roster; the places in a flaw's field are those in `members`.
pub(crate) fn check_members(members: &[Member]) -> Result<(), Flaw> {
    let count = members.len();
    require((1..=MEMBERS_MAX).contains(&count), "members", "1 to 64 members", count)?;
    let (mut names, mut keys) = (BTreeSet::new(), BTreeSet::new());
    for (place, member) in members.iter().enumerate() {
        let field = |name: &str| format!("members[{place}].{name}");
        let Member { name, key, addresses, weight } = member;
        require(is_name(name), &field("name"), NAME_EXPECTED, name)?;
        require(names.insert(name), &field("name"), "a name no other member has", name)?;
        require(keys.insert(key), &field("key"), "a key no other member has", key)?;
        require(identity::is_public_key(key), &field("key"), "an ed25519 public key", key)?;
        within(&field("weight"), *weight, 1..=1_000_000)?;
        let count = addresses.len();
        require(count <= 16, &field("addresses"), "at most 16 addresses", count)?;
    }
    Ok(())
}

fn check_lora(lora: &Lora) -> Result<(), Flaw> {
    let Lora { rank, alpha, dropout, targets } = lora;
    within("lora.rank", *rank, 1..=1024)?;
    require(alpha.is_finite() && *alpha > 0.0, "lora.alpha", "a positive number", alpha)?;
    require((0.0..1.0).contains(dropout), "lora.dropout", "at least 0, less than 1", dropout)?;
    let count = targets.len();
    require((1..=64).contains(&count), "lora.targets", "1 to 64 layer names", count)?;
    let distinct: BTreeSet<_> = targets.iter().collect();
    require(distinct.len() == count, "lora.targets", "names without repetition", count)
}

fn check_training(training: &Training) -> Result<(), Flaw> {
    let t = training;
    within("training.rounds", t.rounds, 1..=ROUNDS_MAX)?;
    within("training.local_steps", t.local_steps, 1..=1_000_000)?;
    let batch = u64::from(t.batch_questions) + u64::from(t.batch_captions);
    within("training.batch_questions + training.batch_captions", batch, 1..=65_536)?;
    within("training.accumulation", t.accumulation, 1..=65_536)?;
    let norm = t.gradient_norm_max.unwrap_or(1.0);
    let field = "training.gradient_norm_max";
    require((1e-30..=1e30).contains(&norm), field, "1e-30 to 1e30", norm)?;
    let (rate, last) = (t.learning_rate, t.learning_rate_final);
    let field = "training.learning_rate";
    require(rate.is_finite() && rate > 0.0, field, "a positive number", rate)?;
    let (field, expected) =
        ("training.learning_rate_final", "at least 0, at most training.learning_rate");
    require((0.0..=rate).contains(&last), field, expected, last)?;
    let (field, decay) = ("training.weight_decay", t.weight_decay);
    require(decay.is_finite() && decay >= 0.0, field, "zero or a positive number", decay)
}

/// A flaw unless `number` is in `range`.
fn within<T: PartialOrd + fmt::Display>(
    field: &str,
    number: T,
    range: RangeInclusive<T>,
) -> Result<(), Flaw> {
    let expected = format!("{} to {}", range.start(), range.end());
    require(range.contains(&number), field, expected, number)
}

fn is_name(name: &str) -> bool {
    let length = name.chars().count();
    (1..=64).contains(&length) && !name.chars().any(char::is_control)
}

/// What [`is_name`] asks for.
const NAME_EXPECTED: &str = "1 to 64 printable characters";

fn one() -> u32 {
    1
}

fn byzantine() -> FaultModel {
    FaultModel::Byzantine
}

fn view_timeout_ms() -> u64 {
    2000
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_one(number: &u32) -> bool {
    *number == 1
}

#[cfg(test)]
pub(crate) mod tests;
