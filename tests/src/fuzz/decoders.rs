//! Reads bytes as everything that the protocol reads from strangers, from peers and from disks.
//!
//! What is accepted has one form only: written again, it is the same bytes. What a member signs is
//! read behind its signature, as a peer would.

use std::fmt::Debug;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use witan_protocol::codec;
use witan_protocol::federation::hello::Hello;
use witan_protocol::federation::{Compression, Federation, Strategy};
use witan_protocol::io::{Input, Time};
use witan_protocol::ledger;
use witan_protocol::wire::envelope::{self, Opened, RECORD_BYTES_MAX};
use witan_protocol::wire::{
    Ballot, Evidence, Heartbeat, Holdings, Message, Objection, Polka, Proposal, ProposalMessage,
    RecordCopy, RoundRecord, Update, Vote,
};
use witan_protocol::{Config, Participant};

use crate::{model, world};

/// Reads `bytes` in every way; panics if one of them goes wrong.
pub fn decode(bytes: &[u8]) {
    let federation = federation();
    let roster = federation.founders();
    if let Ok(verified) = envelope::open(bytes, roster) {
        let again = envelope::reseal(verified.signer, &verified.message, &verified.signature);
        assert_eq!(again, bytes, "an envelope has one form");
    }
    let _ = envelope::claimed_kind(bytes);
    let _ = envelope::open_claim(bytes, roster);
    let opened = Opened::new(bytes.to_vec(), federation.id());
    assert_eq!(opened.bytes(), bytes, "an envelope that is opened stays as it is");
    let _ = ledger::audit(&federation, model::start(), [bytes].into_iter());
    if let Ok(hello) = Hello::decode(bytes) {
        assert_eq!(hello.encode(), bytes, "a hello has one form");
        let _ = Hello::new(&federation).check(&hello).map_err(|mismatch| mismatch.to_string());
    }
    texts(bytes);
    messages(&federation, bytes);
    disks(&federation, bytes);
}

/// The payload of an envelope, as its signer wrote it.
pub fn payload(envelope: &[u8]) -> Option<Vec<u8>> {
    let said = envelope::open(envelope, federation().founders()).ok()?;
    Some(match said.message {
        Message::Heartbeat(payload) => codec::encode(&payload),
        Message::Update(payload) => codec::encode(&payload),
        Message::Proposal(proposed) => codec::encode(&proposed.proposal),
        Message::Vote(payload) => codec::encode(&payload),
        Message::Objection(payload) => codec::encode(&payload),
        Message::Holdings(payload) => codec::encode(&payload),
        Message::Record(payload) => codec::encode(&payload),
        Message::Polka(payload) => codec::encode(&payload),
        Message::Evidence(payload) => codec::encode(&payload),
        Message::Ballot(payload) => codec::encode(&payload),
    })
}

/// The federation file that bytes are read in, and what its members say on connecting.
pub fn documents() -> [Vec<u8>; 2] {
    let federation = federation();
    [federation.to_toml().into_bytes(), Hello::new(&federation).encode()]
}

fn texts(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    match Federation::from_toml(text) {
        Err(error) => drop(error.to_string()),
        Ok(federation) => {
            let again = Federation::from_toml(&federation.to_toml()).expect("it wrote that itself");
            assert_eq!(again.id(), federation.id(), "written again it is the same federation");
        }
    }
    if let Ok(strategy) = text.parse::<Strategy>() {
        assert_eq!(strategy.to_string().parse(), Ok(strategy));
    }
    if let Ok(codec) = text.parse::<Compression>() {
        assert_eq!(codec.to_string().parse(), Ok(codec));
    }
}

/// The payloads of all kinds of message, each sealed by a member and handed to another.
fn messages(federation: &Arc<Federation>, bytes: &[u8]) {
    said::<Heartbeat>(federation, bytes, Message::Heartbeat);
    said::<Update>(federation, bytes, Message::Update);
    said::<Vote>(federation, bytes, Message::Vote);
    said::<Objection>(federation, bytes, Message::Objection);
    said::<Holdings>(federation, bytes, Message::Holdings);
    said::<RecordCopy>(federation, bytes, Message::Record);
    said::<Polka>(federation, bytes, Message::Polka);
    said::<Evidence>(federation, bytes, Message::Evidence);
    said::<Ballot>(federation, bytes, Message::Ballot);
    said::<Proposal>(federation, bytes, |proposal| {
        Message::Proposal(ProposalMessage { view: proposal.view, valid_view: None, proposal })
    });
}

fn said<T>(federation: &Arc<Federation>, bytes: &[u8], message: impl FnOnce(T) -> Message)
where
    T: Serialize + DeserializeOwned + Clone + Debug,
{
    let Ok(payload) = codec::decode::<T>(bytes, RECORD_BYTES_MAX) else {
        return;
    };
    assert_eq!(codec::encode(&payload), bytes, "a payload has one form");
    let message = message(payload);
    let _ = (message.gist(), message.round());
    let sealed = envelope::seal(&world::identity(1), federation.id(), &message);
    let opened = envelope::open(&sealed, federation.founders());
    if let Ok(opened) = opened {
        // NaN is not itself: bytes are compared, not what they mean.
        let again = envelope::reseal(opened.signer, &opened.message, &opened.signature);
        assert_eq!(again, sealed);
    }
    let config = config(federation);
    let mut participant = Participant::new(config, Time(0)).expect("it has no past");
    let via = world::identity(1).member();
    let opened = Box::new(Opened::new(sealed, federation.id()));
    participant.handle(Time(1), Input::Message { via, opened });
    while participant.poll_output().is_some() {}
}

/// What a member finds when it starts again.
fn disks(federation: &Arc<Federation>, bytes: &[u8]) {
    let restore = |records, wal| {
        let restored = Participant::restore(config(federation), records, wal, Time(0));
        let _ = restored.map_err(|error| error.to_string());
    };
    restore(Vec::new(), vec![bytes.to_vec()]);
    if codec::decode::<RoundRecord>(bytes, RECORD_BYTES_MAX).is_ok() {
        restore(vec![bytes.to_vec()], Vec::new());
    }
}

fn config(federation: &Arc<Federation>) -> Config {
    let (identity, start_adapter) = (world::identity(0), model::start());
    Config { federation: Arc::clone(federation), identity, start_adapter }
}

/// The federation that bytes are read in.
fn federation() -> Arc<Federation> {
    let mut document = world::document(4, 4);
    document.council.late_rounds = 2;
    Arc::new(Federation::new(document).expect("the document is sound"))
}
