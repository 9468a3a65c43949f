//! An honest member never signs two different things where it may sign one: a vote per view and
//! step, a proposal per view, an update per round. Across crashes at any point.

use std::collections::HashMap;

use witan_protocol::codec;
use witan_protocol::digest::Digest;
use witan_protocol::member::{MemberId, Round, View};
use witan_protocol::wire::{Message, VoteStep};

use super::{Invariant, Observation, Scene};

/// What each member signed.
#[derive(Default)]
pub(super) struct VoteOnce {
    signed: HashMap<(MemberId, Once), Digest>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Once {
    Vote(Round, View, VoteStep),
    Proposal(Round, View),
    Update(Round),
}

impl Invariant for VoteOnce {
    fn name(&self) -> &'static str {
        "vote_once"
    }

    fn observe(&mut self, scene: &Scene<'_>, observation: &Observation<'_>) -> Result<(), String> {
        let Observation::Said(verified, _) = observation else {
            return Ok(());
        };
        if verified.signer != scene.me {
            return Ok(());
        }
        let (once, what) = match &verified.message {
            Message::Vote(v) => (Once::Vote(v.round, v.view, v.step), codec::encode(v)),
            Message::Proposal(m) => (Once::Proposal(m.proposal.round, m.view), codec::encode(m)),
            Message::Update(u) => (Once::Update(u.round), codec::encode(u)),
            _ => return Ok(()),
        };
        let what = Digest::of(&what);
        if *self.signed.entry((scene.me, once)).or_insert(what) != what {
            return Err(format!("signed two different things for {once:?}"));
        }
        Ok(())
    }
}
