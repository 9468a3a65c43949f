//! What members send each other, and what a record holds: every type that travels is defined here,
//! once. Must never depend on the ledger or on a round: whether a message fits is theirs to say.

pub mod ballot;
pub mod envelope;
pub mod evidence;
pub mod message;
pub mod record;
pub mod refutation;
