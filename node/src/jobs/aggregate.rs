//! The thread that aggregates and checks adapters, so that a member that trains still verifies and
//! votes. What is computed is `witan_home::aggregation`.

use tokio::sync::mpsc;
use witan_files::Blobs;
use witan_home::aggregation::Aggregation;
use witan_protocol::io::Input;

use super::{Event, Task};

/// Works until the queue closes.
pub fn run(
    aggregation: &Aggregation,
    blobs: &Blobs,
    mut tasks: mpsc::Receiver<Task>,
    events: mpsc::Sender<Event>,
) {
    while let Some(task) = tasks.blocking_recv() {
        let done = match task {
            Task::Aggregate { job, round, start, inputs } => aggregation
                .aggregate(blobs, round, &start, &inputs)
                .map(|result| Event::Done { round, input: Input::Aggregated { job, result } }),
            Task::Adopt { job, round, adapter } => aggregation
                .read(blobs, &adapter)
                .map(|_| Event::Done { round, input: Input::Adopted { job } }),
            Task::Train { .. } => unreachable!("training has its own queue"),
        };
        if events.blocking_send(done.unwrap_or_else(Event::Broken)).is_err() {
            return;
        }
    }
}
