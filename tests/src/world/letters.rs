//! Messages on their way. Each distinct envelope is opened once, by the real code, however many
//! members receive it: checking a signature costs more than everything else in a run.

use std::collections::HashMap;
use std::rc::Rc;

use witan_protocol::Roster;
use witan_protocol::digest::Digest;
use witan_protocol::io::Input;
use witan_protocol::member::{MemberId, Round};
use witan_protocol::wire::envelope::{Opened, Refusal};
use witan_protocol::wire::{Message, Verified};

/// Bytes a member sent.
#[derive(Debug)]
pub struct Letter {
    /// The bytes.
    pub bytes: Vec<u8>,
    opened: Result<Box<Opened>, Refusal>,
}

/// Every message opened so far, by the roster it was opened by: a stranger may become a member.
#[derive(Default)]
pub struct Letters {
    known: HashMap<(Digest, Round), Rc<Letter>>,
}

impl Letter {
    /// What it says, if it is signed by a member.
    pub fn verified(&self) -> Result<&Verified<Message>, &Refusal> {
        self.opened.as_ref().map(|opened| opened.verified())
    }

    /// What a member that receives it is handed.
    pub fn input(&self, via: MemberId) -> Input {
        match &self.opened {
            Ok(opened) => Input::Opened { via, opened: opened.clone() },
            Err(_) => Input::Message { via, bytes: self.bytes.clone() },
        }
    }
}

impl Letters {
    /// The letter with these bytes.
    pub fn letter(&mut self, bytes: Vec<u8>, roster: &Roster) -> Rc<Letter> {
        let open = || {
            let opened = Opened::new(bytes.clone(), roster).map(Box::new);
            Rc::new(Letter { bytes: bytes.clone(), opened })
        };
        self.known.entry((Digest::of(&bytes), roster.since())).or_insert_with(open).clone()
    }
}
