//! Votes on membership, as a person sees and casts them through the control socket.

use serde::{Deserialize, Serialize};
use witan_protocol::digest::Digest;
use witan_protocol::member::{MemberId, Round};
use witan_protocol::wire::{Ballot, Change};
use witan_protocol::{Participant, Roster};

/// An open petition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PetitionRow {
    /// What is voted on.
    pub id: Digest,
    /// The change.
    pub change: Change,
    /// Who put it.
    pub by: MemberId,
    /// The last round that may decide it.
    pub expires: Round,
    /// Whose ballots say yes.
    pub yes: Vec<MemberId>,
    /// Whose ballots say no.
    pub no: Vec<MemberId>,
    /// Yes ballots that decide.
    pub needed: u64,
}

/// What a person wants the node to cast.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CastRequest {
    /// A petition of the node's own, with its yes.
    Propose(Change),
    /// A ballot on an open petition, named by the head of its id.
    Vote {
        /// At least the first 4 digits.
        id: String,
        /// Yes or no.
        approve: bool,
    },
}

/// The open petitions, oldest first.
pub fn rows(participant: &Participant) -> Vec<PetitionRow> {
    let roster = participant.roster();
    let rows = participant.petitions().map(|poll| PetitionRow {
        id: poll.petition.id(),
        change: poll.petition.change.clone(),
        by: poll.petition.by,
        expires: poll.petition.expires(),
        yes: members(roster, poll.cast(roster, true).places()),
        no: members(roster, poll.cast(roster, false).places()),
        needed: roster.quorum() as u64,
    });
    rows.collect()
}

/// The ballot that a person asks for, checked; or in a sentence why it cannot be cast.
pub fn ballot(participant: &Participant, request: &CastRequest) -> Result<Ballot, String> {
    match request {
        CastRequest::Propose(change) => {
            let petition = participant.petition(change.clone()).map_err(|flaw| flaw.to_string())?;
            Ok(Ballot { petition, approve: true })
        }
        CastRequest::Vote { id, approve } => {
            let digits = id.to_ascii_lowercase();
            let is_named = |id: Digest| digits.len() >= 4 && id.to_string().starts_with(&digits);
            let mut found = participant.petitions().filter(|poll| is_named(poll.petition.id()));
            match (found.next(), found.next()) {
                (Some(poll), None) => {
                    Ok(Ballot { petition: poll.petition.clone(), approve: *approve })
                }
                _ => Err(format!("{id} names no open petition, or more than one")),
            }
        }
    }
}

fn members(roster: &Roster, places: impl Iterator<Item = usize>) -> Vec<MemberId> {
    places.map(|place| roster.members()[place].id()).collect()
}
