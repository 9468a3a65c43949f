//! The fetches under way, seen from the loop: which blobs, whom they ask, what became of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use libp2p::PeerId;
use libp2p::request_response::OutboundRequestId;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use witan_files::Blobs;
use witan_protocol::digest::{BlobRef, Digest};

use super::chunk::Answer;
use super::fetch::{Ask, Fetcher, Outcome};
use super::limits;
use super::roster::Roster;

/// All fetches of one node.
#[derive(Debug)]
pub(crate) struct Fetching {
    fetcher: Fetcher,
    asks: mpsc::Receiver<Ask>,
    holders: BTreeMap<Digest, watch::Sender<Vec<PeerId>>>,
    tasks: JoinSet<(BlobRef, Outcome)>,
    asked: BTreeMap<OutboundRequestId, oneshot::Sender<Answer>>,
}

/// What the loop must do for a fetch.
#[derive(Debug)]
pub(crate) enum Step {
    /// Ask this question, then tell [`Fetching::on_asked`].
    Ask(Ask),
    /// A fetch ended.
    Ended(BlobRef, Outcome),
}

impl Fetching {
    /// Fetches into `blobs` from the members of `roster`.
    pub(crate) fn new(blobs: Blobs, roster: &Roster) -> Self {
        let (sender, asks) = mpsc::channel(limits::FETCHES_MAX);
        let fetches = Arc::new(Semaphore::new(limits::FETCHES_MAX));
        let mut fetching = Self {
            fetcher: Fetcher { blobs, asks: sender, fetches, peers: Arc::default() },
            asks,
            holders: BTreeMap::new(),
            tasks: JoinSet::new(),
            asked: BTreeMap::new(),
        };
        fetching.follow(roster);
        fetching
    }

    /// Later fetches ask the members of this roster.
    pub(crate) fn follow(&mut self, roster: &Roster) {
        let places = |peer| {
            let known = self.fetcher.peers.get(&peer).cloned();
            let new = || Arc::new(Semaphore::new(limits::CHUNKS_PER_PEER_MAX));
            (peer, known.unwrap_or_else(new))
        };
        self.fetcher.peers = Arc::new(roster.peers().map(places).collect());
    }

    /// Starts a fetch, or adds holders to the one under way.
    pub(crate) fn start(&mut self, blob: BlobRef, holders: Vec<PeerId>) {
        if let Some(known) = self.holders.get(&blob.digest) {
            known.send_if_modified(|known| add(known, holders));
            return;
        }
        if blob.size_bytes > limits::BLOB_BYTES_MAX {
            tracing::error!(blob = %blob.digest, size = blob.size_bytes, "a blob is too large");
            return;
        }
        if self.holders.len() >= limits::FETCHES_WAITING_MAX {
            tracing::warn!(blob = %blob.digest, "too many fetches: one is lost");
            return;
        }
        let mut distinct = Vec::new();
        add(&mut distinct, holders);
        let (sender, receiver) = watch::channel(distinct);
        self.holders.insert(blob.digest, sender);
        let fetch = self.fetcher.clone().fetch(blob, receiver);
        self.tasks.spawn(async move { (blob, fetch.await) });
    }

    /// The next step; waits for ever if there is none.
    pub(crate) async fn next(&mut self) -> Step {
        loop {
            tokio::select! {
                Some(ask) = self.asks.recv() => return Step::Ask(ask),
                Some(ended) = self.tasks.join_next() => match ended {
                    Ok((blob, outcome)) => {
                        self.holders.remove(&blob.digest);
                        return Step::Ended(blob, outcome);
                    }
                    Err(error) => std::panic::resume_unwind(error.into_panic()),
                },
                else => std::future::pending().await,
            }
        }
    }

    /// A question left; its answer will come under `id`.
    pub(crate) fn on_asked(&mut self, id: OutboundRequestId, answer: oneshot::Sender<Answer>) {
        self.asked.insert(id, answer);
    }

    /// An answer came. Nonsense is no answer.
    pub(crate) fn on_answer(&mut self, id: OutboundRequestId, bytes: Vec<u8>) {
        if let (Some(asked), Some(answer)) = (self.asked.remove(&id), Answer::decode(bytes)) {
            // No receiver: the fetch has ended meanwhile.
            let _ = asked.send(answer);
        }
    }

    /// There will be no answer.
    pub(crate) fn on_failed(&mut self, id: OutboundRequestId) {
        self.asked.remove(&id);
    }
}

/// Adds what is new; says whether anything was.
fn add(known: &mut Vec<PeerId>, more: Vec<PeerId>) -> bool {
    let before = known.len();
    for holder in more {
        if !known.contains(&holder) {
            known.push(holder);
        }
    }
    known.len() > before
}
