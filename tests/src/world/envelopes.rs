//! Envelopes on their way. Each distinct one is opened once, by the real code, however many members
//! receive it: checking a signature costs more than everything else in a run.

use std::collections::HashMap;
use std::rc::Rc;

use witan_protocol::digest::Digest;
use witan_protocol::federation::FederationId;
use witan_protocol::wire::envelope::Opened;

/// Every envelope opened so far.
#[derive(Default)]
pub(super) struct Envelopes {
    known: HashMap<Digest, Rc<Opened>>,
}

impl Envelopes {
    /// The envelope with these bytes.
    pub(super) fn open(&mut self, bytes: Vec<u8>, federation: FederationId) -> Rc<Opened> {
        let digest = Digest::of(&bytes);
        self.known.entry(digest).or_insert_with(|| Rc::new(Opened::new(bytes, federation))).clone()
    }
}
