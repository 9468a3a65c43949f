//! The handshake: both sides send their federation's fields, so that each can name one that
//! differs.
//!
//! Both sides send a [`Hello`]; both run [`Hello::check`]. It is not signed: the connection is
//! authenticated already, and all it decides is whether to keep that connection.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Federation, FederationId};
use crate::codec::{self, DecodeError};
use crate::digest::Digest;

/// The version of the protocol; peers must have the same.
pub const PROTOCOL_VERSION: u32 = 1;

/// Bytes a hello may have.
pub const HELLO_BYTES_MAX: usize = 8 * 1024;

/// Each agreed field with its value, or the head of its digest where it is long.
pub type Fields = BTreeMap<String, String>;

/// What each side sends on connecting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`PROTOCOL_VERSION`] of the sender.
    pub protocol_version: u32,
    /// Its federation.
    pub federation: FederationId,
    /// That federation, field by field.
    pub fields: Fields,
}

/// The first field in which two federations differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldDifference {
    /// Its path in the document.
    pub field: String,
    /// Its value in this node's file.
    pub ours: String,
    /// Its value in the peer's file.
    pub theirs: String,
}

/// Why two nodes do not belong together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HelloMismatch {
    /// Different protocol versions.
    #[error("protocol version differs: ours {ours}, theirs {theirs}")]
    Version {
        /// This node's.
        ours: u32,
        /// The peer's.
        theirs: u32,
    },
    /// Different federation files.
    #[error(
        "federation files differ in {}: ours {}, theirs {}",
        .0.field, .0.ours, .0.theirs
    )]
    Field(FieldDifference),
    /// Different federation ids, though every field shown is the same.
    #[error("federation ids differ: ours {ours}, theirs {theirs}")]
    Id {
        /// This node's.
        ours: FederationId,
        /// The peer's.
        theirs: FederationId,
    },
}

impl Hello {
    /// The hello of a node of this federation.
    pub fn new(federation: &Federation) -> Self {
        Self {
            protocol_version: PROTOCOL_VERSION,
            federation: federation.id(),
            fields: federation.fields(),
        }
    }

    /// The bytes to send.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Reads a peer's hello; bounded by [`HELLO_BYTES_MAX`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        codec::decode(bytes, HELLO_BYTES_MAX)
    }

    /// Whether the peer belongs to the same federation; names the first difference if not.
    pub fn check(&self, theirs: &Hello) -> Result<(), HelloMismatch> {
        if self.protocol_version != theirs.protocol_version {
            let (ours, theirs) = (self.protocol_version, theirs.protocol_version);
            return Err(HelloMismatch::Version { ours, theirs });
        }
        if self.federation == theirs.federation {
            return Ok(());
        }
        let (ours, theirs_id) = (self.federation, theirs.federation);
        Err(match difference(&self.fields, &theirs.fields) {
            Some(field) => HelloMismatch::Field(field),
            None => HelloMismatch::Id { ours, theirs: theirs_id },
        })
    }
}

impl Federation {
    /// Every agreed field with its value, long ones as the head of a digest.
    fn fields(&self) -> Fields {
        let document = self.document();
        let (lora, training, council) = (&document.lora, &document.training, &document.council);
        let mut fields = Fields::new();
        let mut field = |name: &str, value: String| fields.insert(name.to_owned(), value);
        field("name", document.name.clone());
        field("seed", document.seed.to_string());
        let short = |digest: &Digest| digest.to_string()[..16].to_owned();
        field("base", short(&document.base));
        field("tower", document.tower.as_ref().map_or("none".to_owned(), short));
        field("lora.rank", lora.rank.to_string());
        field("lora.alpha", lora.alpha.to_string());
        field("lora.dropout", lora.dropout.to_string());
        field("lora.targets", summary(lora.targets.len(), &lora.targets));
        field("training.rounds", training.rounds.to_string());
        field("training.local_steps", training.local_steps.to_string());
        field("training.batch_questions", training.batch_questions.to_string());
        field("training.batch_captions", training.batch_captions.to_string());
        field("training.accumulation", training.accumulation.to_string());
        let norm = training.gradient_norm_max.map_or("none".to_owned(), |norm| norm.to_string());
        field("training.gradient_norm_max", norm);
        field("training.learning_rate", training.learning_rate.to_string());
        field("training.learning_rate_final", training.learning_rate_final.to_string());
        field("training.weight_decay", training.weight_decay.to_string());
        field("training.strategy", training.strategy.to_string());
        field("training.compression", training.compression.to_string());
        field("council.fault_model", format!("{:?}", council.fault_model).to_lowercase());
        field("council.round_deadline_s", council.round_deadline_s.to_string());
        field("council.view_timeout_ms", council.view_timeout_ms.to_string());
        field("council.late_rounds", council.late_rounds.to_string());
        let roster: Vec<_> = document.members.iter().map(|m| (&m.name, m.key, m.weight)).collect();
        field("members", summary(roster.len(), &roster));
        fields
    }
}

fn difference(ours: &Fields, theirs: &Fields) -> Option<FieldDifference> {
    let missing = || "(absent)".to_owned();
    ours.keys().chain(theirs.keys()).find(|name| ours.get(*name) != theirs.get(*name)).map(|name| {
        FieldDifference {
            field: shown(name),
            ours: ours.get(name).cloned().unwrap_or_else(missing),
            theirs: theirs.get(name).map_or_else(missing, |value| shown(value)),
        }
    })
}

/// Text from a peer, made safe to print on one line.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(80).collect()
}

fn summary<T: Serialize>(count: usize, value: &T) -> String {
    format!("{count} ({})", Digest::of(&codec::encode(value)).short())
}
