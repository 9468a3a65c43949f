//! Fetching one blob: chunk after chunk from any holder, resumed after every break.
//!
//! A holder is kept as long as it delivers. When it stops, the next one goes on where it stopped.
//! Only the whole blob can be checked, so wrong bytes are blamed on a holder only if all of them
//! came from it; after a failed check, each attempt therefore keeps to one holder.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use libp2p::PeerId;
use thiserror::Error;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use witan_files::{BlobError, Blobs, Part};
use witan_protocol::digest::BlobRef;

use super::chunk::{Answer, Question};
use super::limits;

/// A question for the network to ask; dropping `answer` means that it could not be asked.
#[derive(Debug)]
pub(crate) struct Ask {
    pub peer: PeerId,
    pub question: Question,
    pub answer: oneshot::Sender<Answer>,
}

/// What all fetches share: where blobs go, how questions are asked, and how many at once.
#[derive(Clone, Debug)]
pub(crate) struct Fetcher {
    pub blobs: Blobs,
    pub asks: mpsc::Sender<Ask>,
    /// A place for each blob.
    pub fetches: Arc<Semaphore>,
    /// Places for chunks, by the peer that is asked; nobody else is.
    pub peers: Arc<BTreeMap<PeerId, Arc<Semaphore>>>,
}

/// What became of a fetch.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Why the blob is not stored; `None` if it is.
    pub failure: Option<Failure>,
    /// Holders that sent wrong bytes.
    pub liars: BTreeSet<PeerId>,
}

/// Why a blob was not fetched.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    /// No holder delivered.
    #[error("no holder delivered {missing} of {} bytes of blob {}", blob.size_bytes, blob.digest)]
    NoHolder {
        /// Which blob.
        blob: BlobRef,
        /// Bytes that are still missing; the rest is kept for the next attempt.
        missing: u64,
    },
    /// It could not be written.
    #[error(transparent)]
    Store(#[from] BlobError),
    /// The network is ending.
    #[error("the network is ending")]
    Ending,
}

impl Fetcher {
    /// Fetches `blob` from `holders`, which may grow meanwhile; durable once done without failure.
    pub(crate) async fn fetch(
        self,
        blob: BlobRef,
        holders: watch::Receiver<Vec<PeerId>>,
    ) -> Outcome {
        let mut job = Job { fetcher: self, blob, holders, outcome: Outcome::default() };
        if let Err(failure) = job.run().await {
            job.outcome.failure = Some(failure);
        }
        job.outcome
    }
}

struct Job {
    fetcher: Fetcher,
    blob: BlobRef,
    holders: watch::Receiver<Vec<PeerId>>,
    outcome: Outcome,
}

/// Where the bytes of the current attempt came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// Nothing yet.
    Nobody,
    /// All from this holder.
    One(PeerId),
    /// From several, or from an earlier run.
    Mixed,
}

/// How one holder's turn ended.
enum Turn {
    /// The blob is stored.
    Stored,
    /// It stopped delivering: whether it delivered anything, and how long it wants to be left.
    Stopped { delivered: bool, wait: Duration },
    /// The bytes were wrong.
    Wrong,
}

impl Job {
    async fn run(&mut self) -> Result<(), Failure> {
        let slots = self.fetcher.fetches.clone();
        let _slot = slots.acquire().await.map_err(|_| Failure::Ending)?;
        let (blobs, blob) = (self.fetcher.blobs.clone(), self.blob);
        if blobs.has(&blob) {
            return Ok(());
        }
        let mut passes = 0;
        let mut is_suspicious = false;
        let mut source = Source::Nobody;
        while passes < limits::FETCH_PASSES_MAX {
            let mut pause = limits::FETCH_PAUSE * 2u32.saturating_pow(passes);
            passes += 1;
            let holders = self.holders.borrow_and_update().clone();
            for holder in holders {
                if self.outcome.liars.contains(&holder) {
                    continue;
                }
                match self.turn(holder, &mut source, is_suspicious).await? {
                    Turn::Stored => return Ok(()),
                    Turn::Stopped { delivered, wait } => {
                        pause = pause.max(wait);
                        if delivered && !is_suspicious {
                            passes = 0;
                        }
                    }
                    Turn::Wrong => {
                        if source == Source::One(holder) {
                            self.outcome.liars.insert(holder);
                        }
                        (is_suspicious, source) = (true, Source::Nobody);
                    }
                }
            }
            if let Ok(Err(_)) = tokio::time::timeout(pause, self.holders.changed()).await {
                return Err(Failure::Ending);
            }
        }
        let part = blocking(move || blobs.part(&blob)).await??;
        Err(Failure::NoHolder { blob, missing: part.missing() })
    }

    /// Takes chunks from `holder` for as long as it delivers.
    async fn turn(
        &mut self,
        holder: PeerId,
        source: &mut Source,
        is_suspicious: bool,
    ) -> Result<Turn, Failure> {
        let (blobs, blob) = (self.fetcher.blobs.clone(), self.blob);
        let mut part = blocking(move || blobs.part(&blob)).await??;
        if is_suspicious && *source != Source::One(holder) {
            part.restart()?;
            *source = Source::Nobody;
        }
        let mut delivered = false;
        while part.missing() > 0 {
            let stopped = |wait| Turn::Stopped { delivered, wait };
            let bytes = match self.ask(holder, &part).await? {
                Some(Answer::Data(bytes)) => bytes,
                Some(Answer::Busy(wait)) => return Ok(stopped(wait)),
                Some(Answer::NotFound) | None => return Ok(stopped(Duration::ZERO)),
            };
            *source = match *source {
                Source::Nobody if part.written() == 0 => Source::One(holder),
                Source::One(same) if same == holder => Source::One(holder),
                _ => Source::Mixed,
            };
            part = blocking(move || part.append(&bytes).map(|()| part)).await??;
            delivered = true;
        }
        match blocking(move || part.finish()).await? {
            Ok(()) => Ok(Turn::Stored),
            Err(BlobError::Corrupt { .. }) => Ok(Turn::Wrong),
            Err(error) => Err(error.into()),
        }
    }

    /// Asks `holder` for what comes next; `None` if there is no answer, or not the whole chunk:
    /// whoever has the blob has all of it.
    async fn ask(&self, holder: PeerId, part: &Part) -> Result<Option<Answer>, Failure> {
        let Some(slots) = self.fetcher.peers.get(&holder) else { return Ok(None) };
        let _slot = slots.acquire().await.map_err(|_| Failure::Ending)?;
        let len = part.missing().min(u64::from(limits::CHUNK_BYTES_MAX)) as u32;
        let question = Question { digest: self.blob.digest, offset: part.written(), len };
        let (answer, answered) = oneshot::channel();
        let ask = Ask { peer: holder, question, answer };
        self.fetcher.asks.send(ask).await.map_err(|_| Failure::Ending)?;
        let is_short =
            |answer: &Answer| matches!(answer, Answer::Data(bytes) if bytes.len() != len as usize);
        Ok(answered.await.ok().filter(|answer| !is_short(answer)))
    }
}

/// Runs file work off the network's threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Failure::Ending)
}
