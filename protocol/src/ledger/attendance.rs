//! The roster proof of a record: who was expected, who was present, who contributed, who co-signed.
//!
//! Everything follows from signatures in the record: a member is present if its update is in it, if
//! its precommit is in the certificate, or if the aggregator shows a heartbeat that the member
//! signed in this round. No member is present by another's word.

use crate::codec::DecodeError;
use crate::federation::Roster;
use crate::flaw::{Flaw, require};
use crate::member::{MemberId, Round};
use crate::wire::envelope::{self, Refusal};
use crate::wire::{Absence, Absent, HEARD_BYTES_MAX, Heartbeat, Message, RoundRecord, Update};

/// Who took which part in a round; each list in roster order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attendance {
    /// The roster.
    pub expected: Vec<MemberId>,
    /// Of those, who signed anything in the round.
    pub present: Vec<MemberId>,
    /// Of those, whose update is in the aggregate.
    pub contributed: Vec<MemberId>,
    /// Of those, whose precommit is in the certificate.
    pub cosigned: Vec<MemberId>,
}

impl RoundRecord {
    /// The attendance of a record that holds, by the roster of its round.
    pub fn attendance(&self, roster: &Roster) -> Attendance {
        let (included, absent) = (&self.proposal.included, &self.proposal.absent);
        let contributed: Vec<_> = included.iter().map(|part| part.member).collect();
        let cosigned: Vec<_> = self.certificate.signatures.iter().map(|s| s.member).collect();
        let heard: Vec<_> =
            absent.iter().filter(|a| a.heard.is_some()).map(|absent| absent.member).collect();
        let expected: Vec<_> = roster.members().iter().map(|member| member.id()).collect();
        let lists = [&contributed, &cosigned, &heard];
        let is_present = |member: &MemberId| lists.iter().any(|list| list.contains(member));
        let present = expected.iter().copied().filter(is_present).collect();
        Attendance { expected, present, contributed, cosigned }
    }
}

impl Absent {
    /// The late update that counts for this member, if one does and `roster` opens it.
    pub fn late_update(&self, roster: &Roster) -> Option<Update> {
        match &self.why {
            Absence::Late { envelope } => envelope::open_update(envelope, roster),
            _ => None,
        }
    }

    /// The heartbeat that shows that this member was there all the same, if there is one.
    pub fn heartbeat(&self, roster: &Roster) -> Option<Heartbeat> {
        open(self.heard.as_deref()?, roster, &self.member).ok()
    }
}

/// Whether the heartbeat shown for an absent member, if any, is its own and of this round.
pub(super) fn check(roster: &Roster, round: Round, absent: &Absent) -> Result<(), Flaw> {
    let Some(heard) = &absent.heard else {
        return Ok(());
    };
    let field = format!("absent of {}", roster.name_of(&absent.member));
    let alone = !matches!(absent.why, Absence::Late { .. });
    require(alone, &field, "a late update or a heartbeat", "both")?;
    let expected = format!("a heartbeat of round {round} that it signed");
    let found = match open(heard, roster, &absent.member) {
        Ok(progress) if progress.round == round => return Ok(()),
        Ok(progress) => format!("one of round {}", progress.round),
        Err(refusal) => refusal.to_string(),
    };
    require(false, &field, expected, found)
}

/// Reads a heartbeat of `member`.
fn open(bytes: &[u8], roster: &Roster, member: &MemberId) -> Result<Heartbeat, Refusal> {
    if bytes.len() > HEARD_BYTES_MAX {
        return Err(Refusal::TooLong { found: bytes.len(), max: HEARD_BYTES_MAX });
    }
    let verified = envelope::open(bytes, roster)?;
    match verified.message {
        Message::Heartbeat(progress) if verified.signer == *member => Ok(progress),
        _ => Err(Refusal::Payload(DecodeError::Malformed)),
    }
}
