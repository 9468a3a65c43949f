//! Aggregation and adapter checks, bytes in and bytes out: plain arithmetic, the same on every member.

use tokio::sync::mpsc;
use witan_model::{Adapter, aggregate};
use witan_protocol::digest::BlobRef;
use witan_protocol::io::AggregateInput;
use witan_protocol::member::MemberId;

use super::{Event, Ground, Task};
use crate::error::Failure;
use crate::store::blobs::Blobs;

/// Owns what aggregation needs.
#[derive(Debug)]
pub struct Aggregator {
    ground: Ground,
    blobs: Blobs,
}

impl Aggregator {
    /// An aggregator over these blobs.
    pub fn new(ground: Ground, blobs: Blobs) -> Self {
        Self { ground, blobs }
    }

    /// Works until the queue closes.
    pub fn run(self, mut tasks: mpsc::Receiver<Task>, events: mpsc::Sender<Event>) {
        while let Some(task) = tasks.blocking_recv() {
            let event = match task {
                Task::Aggregate { job, start, inputs } => {
                    match self.aggregate(&start, &inputs) {
                        Ok(result) => Event::Aggregated { job, result },
                        Err(failure) => Event::Broken(failure),
                    }
                }
                Task::Adopt { job, round, adapter } => match self.adapter(&adapter) {
                    Ok(_) => Event::Adopted { job, round },
                    Err(failure) => Event::Broken(failure),
                },
                Task::Train { .. } => unreachable!("training has its own queue"),
            };
            if events.blocking_send(event).is_err() {
                return;
            }
        }
    }

    /// The aggregate of `inputs`, stored; or the members whose deltas cannot be used, and why.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn aggregate(
        &self,
        start: &BlobRef,
        inputs: &[AggregateInput],
    ) -> Result<Result<BlobRef, Vec<(MemberId, String)>>, Failure> {
        let start = self.adapter(start)?;
        let mut deltas = Vec::with_capacity(inputs.len());
        let mut unusable = Vec::new();
        for input in inputs {
            let bytes = self.blobs.read(&input.delta)?;
            match Adapter::from_bytes(&bytes, &self.ground.initial) {
                Ok(delta) => deltas.push((input.weight, delta)),
                Err(error) => unusable.push((input.member, error.to_string())),
            }
        }
        if !unusable.is_empty() {
            return Ok(Err(unusable));
        }
        let weighted: Vec<_> = deltas.iter().map(|(weight, delta)| (*weight, delta)).collect();
        let result = aggregate::fedavg(&start, &weighted)
            .map_err(|error| Failure::input(format!("cannot aggregate: {error}")))?;
        Ok(Ok(self.blobs.put(&result.to_bytes())?))
    }

    fn adapter(&self, blob: &BlobRef) -> Result<Adapter, Failure> {
        let bytes = self.blobs.read(blob)?;
        Adapter::from_bytes(&bytes, &self.ground.initial)
            .map_err(|error| Failure::input(format!("adapter {}: {error}", blob.digest.short())))
    }
}
