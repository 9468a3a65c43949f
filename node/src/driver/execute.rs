//! Carries out what the participant wants, in order.

use std::collections::VecDeque;

use witan_home::Failure;
use witan_net::Command;
use witan_protocol::io::{Input, Output};

use super::Driver;
use crate::jobs::Task;

impl Driver {
    /// Polls the participant dry. Inputs that arise at once (a blob that is here already) are
    /// queued.
    ///
    /// A run of `Persist` is made durable by one sync, before the first output after it: that
    /// output may tell the world what was persisted.
    pub(super) fn carry_out(&mut self, inputs: &mut VecDeque<Input>) -> Result<(), Failure> {
        while let Some(output) = self.participant.poll_output() {
            if !matches!(output, Output::Persist(_)) {
                self.store.sync()?;
            }
            self.execute(output, inputs)?;
        }
        Ok(self.store.sync()?)
    }

    fn execute(&mut self, output: Output, inputs: &mut VecDeque<Input>) -> Result<(), Failure> {
        match output {
            Output::Persist(entry) => self.store.append(&entry)?,
            Output::Gossip(bytes) => self.net.send(Command::Gossip(bytes)),
            Output::Send { to, bytes } => self.net.send(Command::Send { to, bytes }),
            Output::Roster(roster) => self.net.follow(roster),
            Output::Fetch { blob, holders } => {
                if self.blobs.has(&blob) {
                    inputs.push_back(Input::BlobStored(blob));
                } else {
                    self.net.send(Command::Fetch { blob, holders });
                }
            }
            Output::Train { job, round, start } => {
                self.jobs.submit(Task::Train { job, round, start })?;
            }
            Output::Aggregate { job, round, start, inputs } => {
                self.jobs.submit(Task::Aggregate { job, round, start, inputs })?;
            }
            Output::Adopt { job, round, adapter } => {
                self.jobs.submit(Task::Adopt { job, round, adapter })?;
            }
            Output::Notice(notice) => self.note(notice)?,
        }
        Ok(())
    }
}
