//! Serving chunks of stored blobs, so many at once and no more.
//!
//! A slot is taken when a question is accepted and given back when the answer has left or could
//! not. Files are read off the network's thread.

use std::collections::BTreeMap;

use libp2p::PeerId;
use libp2p::request_response::{InboundRequestId, ResponseChannel};
use tokio::sync::mpsc;
use witan_files::{BlobError, Blobs};

use super::chunk::{Answer, Question};
use super::limits;

/// The chunks being served.
#[derive(Debug)]
pub(crate) struct Server {
    blobs: Blobs,
    serving: BTreeMap<InboundRequestId, PeerId>,
    ready: mpsc::Sender<Ready>,
}

/// The encoded answer to a question, which can leave.
#[derive(Debug)]
pub(crate) struct Ready {
    pub id: InboundRequestId,
    pub channel: ResponseChannel<Vec<u8>>,
    pub bytes: Vec<u8>,
}

impl Server {
    /// Serves `blobs`; answers come out of the returned channel.
    pub(crate) fn new(blobs: Blobs) -> (Self, mpsc::Receiver<Ready>) {
        let (ready, answers) = mpsc::channel(limits::SERVED_MAX);
        (Self { blobs, serving: BTreeMap::new(), ready }, answers)
    }

    /// A question from a member. Returns an answer that can leave at once, if there is one; else
    /// it follows on the channel.
    pub(crate) fn on_question(
        &mut self,
        peer: PeerId,
        id: InboundRequestId,
        bytes: &[u8],
        channel: ResponseChannel<Vec<u8>>,
    ) -> Option<Ready> {
        let Some(question) = Question::decode(bytes) else {
            return Some(Ready { id, channel, bytes: Answer::NotFound.encode() });
        };
        let of_peer = self.serving.values().filter(|other| **other == peer).count();
        if self.serving.len() >= limits::SERVED_MAX || of_peer >= limits::SERVED_PER_PEER_MAX {
            return Some(Ready { id, channel, bytes: Answer::Busy(limits::BUSY_WAIT).encode() });
        }
        self.serving.insert(id, peer);
        let (blobs, ready) = (self.blobs.clone(), self.ready.clone());
        tokio::task::spawn_blocking(move || {
            let bytes = read(&blobs, &question).encode();
            // No receiver: the network has ended, and with it the peer's connection.
            let _ = ready.blocking_send(Ready { id, channel, bytes });
        });
        None
    }

    /// An answer left, or could not.
    pub(crate) fn on_done(&mut self, id: InboundRequestId) {
        self.serving.remove(&id);
    }

    /// The last connection to a peer closed, and with it whatever was being served.
    pub(crate) fn on_closed(&mut self, peer: &PeerId) {
        self.serving.retain(|_, other| other != peer);
    }
}

fn read(blobs: &Blobs, question: &Question) -> Answer {
    match blobs.read_chunk(&question.digest, question.offset, question.len) {
        Ok(bytes) if bytes.is_empty() => Answer::NotFound,
        Ok(bytes) => Answer::Data(bytes),
        Err(BlobError::Missing(_)) => Answer::NotFound,
        Err(error) => {
            tracing::error!(%error, "a blob cannot be served");
            Answer::NotFound
        }
    }
}
