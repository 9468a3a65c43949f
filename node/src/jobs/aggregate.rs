//! Aggregation and adapter checks, bytes in and bytes out: plain arithmetic, the same on every
//! member.

use tokio::sync::mpsc;
use witan_adapter::{Committed, aggregate};
use witan_files::Blobs;
use witan_home::Failure;
use witan_protocol::digest::BlobRef;
use witan_protocol::io::{Aggregate, AggregateInput, Input};
use witan_protocol::member::{MemberId, Round};
use witan_protocol::wire::LayerError;

use super::{Event, FederatedModel, Task};

/// Owns what aggregation needs.
pub struct Aggregator {
    model: FederatedModel,
    blobs: Blobs,
}

impl Aggregator {
    /// An aggregator over these blobs.
    pub fn new(model: FederatedModel, blobs: Blobs) -> Self {
        Self { model, blobs }
    }

    /// Works until the queue closes.
    pub fn run(self, mut tasks: mpsc::Receiver<Task>, events: mpsc::Sender<Event>) {
        while let Some(task) = tasks.blocking_recv() {
            let event = match task {
                Task::Aggregate { job, round, start, inputs } => {
                    match self.aggregate(round, &start, &inputs) {
                        Ok(result) => {
                            Event::Done { round, input: Input::Aggregated { job, result } }
                        }
                        Err(failure) => Event::Broken(failure),
                    }
                }
                Task::Adopt { job, round, adapter } => match self.committed(&adapter) {
                    Ok(_) => Event::Done { round, input: Input::Adopted { job } },
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
        round: Round,
        start: &BlobRef,
        inputs: &[AggregateInput],
    ) -> Result<Result<Aggregate, Vec<(MemberId, String)>>, Failure> {
        let start = self.committed(start)?;
        let form = self.model.form(round, &start.adapter);
        let mut deltas = Vec::with_capacity(inputs.len());
        let mut unusable = Vec::new();
        for input in inputs {
            let bytes = self.blobs.read(&input.delta)?;
            match form.decode(&bytes) {
                Ok(delta) => deltas.push((input.weight, delta)),
                Err(error) => unusable.push((input.member, error.to_string())),
            }
        }
        if !unusable.is_empty() {
            return Ok(Err(unusable));
        }
        let weighted: Vec<_> = deltas.iter().map(|(weight, delta)| (*weight, delta)).collect();
        let found = aggregate::aggregate(&self.model.strategy, &start, &weighted)
            .map_err(|error| Failure::input(format!("cannot aggregate: {error}")))?;
        let layers = found.naive_error.iter();
        let naive_error =
            layers.map(|layer| LayerError { error: layer.error, norm: layer.norm }).collect();
        let result = self.blobs.put(&found.committed.to_bytes())?;
        Ok(Ok(Aggregate { result, naive_error }))
    }

    fn committed(&self, blob: &BlobRef) -> Result<Committed, Failure> {
        let bytes = self.blobs.read(blob)?;
        self.model
            .committed(&bytes)
            .map_err(|error| Failure::input(format!("adapter {}: {error}", blob.digest.short())))
    }
}
