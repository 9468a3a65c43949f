//! The only loop: an event comes in, the participant decides, its outputs are carried out in order.
//! Routes; decides nothing.

use std::collections::VecDeque;
use std::future::Future;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use witan_files::Blobs;
use witan_home::Failure;
use witan_home::store::Store;
use witan_net as net;
use witan_net::{Command, NetHandle, Traffic};
use witan_protocol::Participant;
use witan_protocol::io::{Input, JobId, Notice, Output, Time};

use crate::control::{ControlSocket, Query, Reply, Request, StatusReport, petitions};
use crate::events::{NodeEvent, TimedEvent};
use crate::jobs::{self, Jobs, Task};

/// A node, ready to run.
pub struct Driver {
    /// The protocol.
    pub participant: Participant,
    /// The network.
    pub net: NetHandle,
    pub(crate) store: Store,
    pub(crate) blobs: Blobs,
    pub(crate) jobs: Jobs,
    pub(crate) sources: Sources,
    /// Receives every event, in order; must not block for long.
    pub(crate) on_event: Box<dyn FnMut(&TimedEvent) + Send>,
    /// The clock's zero.
    pub(crate) started: Instant,
    /// What was repaired when the store was opened; reported first.
    pub(crate) repairs: Vec<String>,
}

/// Where events come from.
pub(crate) struct Sources {
    pub net: mpsc::Receiver<net::Event>,
    pub jobs: mpsc::Receiver<jobs::Event>,
    pub control: ControlSocket,
}

impl Driver {
    /// Runs until `stop` resolves or a control request says so. Returns whom the run lost, by name:
    /// members who took no part in the last round and are not here, once every round is committed.
    ///
    /// # Errors
    /// If the disk refuses or a worker dies; everything persisted before stays so.
    pub async fn run(mut self, stop: impl Future<Output = ()>) -> Result<Vec<String>, Failure> {
        tokio::pin!(stop);
        let mut inputs = VecDeque::from([Input::Tick]);
        let mut heartbeat = Heartbeat::default();
        for what in std::mem::take(&mut self.repairs) {
            self.note(Notice::Repaired { what })?;
        }
        loop {
            while let Some(input) = inputs.pop_front() {
                self.participant.handle(self.now(), input);
                self.carry_out(&mut inputs)?;
            }
            let now = self.now();
            let timer = self.participant.next_timeout().map_or(IDLE_MAX, |at| {
                Duration::from_millis(at.0.saturating_sub(now.0)).min(IDLE_MAX)
            });
            tokio::select! {
                biased;
                () = &mut stop => break,
                Some(event) = self.sources.jobs.recv() => {
                    inputs.extend(self.on_job(event, &mut heartbeat)?);
                }
                Some(event) = self.sources.net.recv() => inputs.extend(self.on_net(event)),
                Some(request) = self.sources.control.requests.recv() => {
                    if self.on_control(request, &mut inputs) {
                        break;
                    }
                }
                () = tokio::time::sleep(timer) => {
                    self.store.write_log()?;
                    inputs.push_back(Input::Tick);
                }
            }
        }
        self.emit(NodeEvent::Stopping);
        let (missing, roster) = (self.participant.status().missing, self.participant.roster());
        let lost = missing.iter().map(|member| roster.name_of(member)).collect();
        self.jobs.stop();
        self.net.shutdown().await;
        self.store.flush()?;
        Ok(lost)
    }

    /// Polls the participant dry. Inputs that arise at once (a blob that is here already) are
    /// queued.
    ///
    /// A run of `Persist` is made durable by one sync, before the first output after it: that
    /// output may tell the world what was persisted.
    fn carry_out(&mut self, inputs: &mut VecDeque<Input>) -> Result<(), Failure> {
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

    fn on_net(&mut self, event: net::Event) -> Option<Input> {
        let (kind, input) = match event {
            net::Event::Listening(address) => (NodeEvent::Listening { address }, None),
            net::Event::PeerRefused { peer, reason } => {
                (NodeEvent::PeerRefused { peer, reason }, None)
            }
            net::Event::Connected(member) => {
                (NodeEvent::Connected { member }, Some(Input::PeerConnected(member)))
            }
            net::Event::Disconnected(member) => {
                (NodeEvent::Disconnected { member }, Some(Input::PeerDisconnected(member)))
            }
            net::Event::Message { via, opened } => return Some(Input::Message { via, opened }),
            net::Event::BlobStored(blob) => {
                (NodeEvent::BlobStored { digest: blob.digest }, Some(Input::BlobStored(blob)))
            }
        };
        self.emit(kind);
        input
    }

    fn on_job(
        &mut self,
        event: jobs::Event,
        heartbeat: &mut Heartbeat,
    ) -> Result<Option<Input>, Failure> {
        let (kind, input) = match event {
            jobs::Event::Preparing { done, pictures } => {
                (NodeEvent::Preparing { done, pictures }, None)
            }
            jobs::Event::Progress { job, round, step, steps, examples, loss } => {
                let input = Input::Progress { job, step, steps, loss };
                let input = heartbeat.is_due(job).then_some(input);
                (NodeEvent::Training { round, step, steps, examples, loss }, input)
            }
            jobs::Event::Done { round, input } => {
                let kind = match &input {
                    Input::Trained { delta, .. } => {
                        NodeEvent::Trained { round, delta: delta.digest }
                    }
                    Input::TrainFailed { reason, .. } => {
                        NodeEvent::SitsOut { round, reason: reason.clone() }
                    }
                    Input::Adopted { .. } => {
                        let Traffic { bytes_in, bytes_out, .. } = self.net.traffic();
                        NodeEvent::Adopted { round, bytes_in, bytes_out }
                    }
                    _ => return Ok(Some(input)),
                };
                (kind, Some(input))
            }
            jobs::Event::Broken(failure) => return Err(failure),
        };
        self.emit(kind);
        Ok(input)
    }

    /// Answers a control request; true if it asks the node to stop.
    fn on_control(&mut self, request: Request, inputs: &mut VecDeque<Input>) -> bool {
        let is_stop = request.query == Query::Stop;
        let replies = match request.query {
            Query::Status => {
                let report = StatusReport { now: self.now(), status: self.participant.status() };
                vec![Reply::Status(Box::new(report))]
            }
            Query::Petitions => vec![Reply::Petitions(petitions::rows(&self.participant))],
            Query::Cast(say) => match petitions::ballot(&self.participant, &say) {
                Ok(ballot) => {
                    let id = ballot.petition.id();
                    inputs.push_back(Input::Cast(ballot));
                    vec![Reply::Cast(id)]
                }
                Err(why) => vec![Reply::Refused(why)],
            },
            Query::Log { filter, .. } => match self.store.log(&filter) {
                Ok(entries) => entries.into_iter().map(Reply::Entry).collect(),
                Err(error) => vec![Reply::Refused(error.to_string())],
            },
            Query::Stop => vec![Reply::Stopping],
        };
        let _ = request.reply.send(replies);
        is_stop
    }

    /// Writes something to the gossip log, and reports it.
    fn note(&mut self, notice: Notice) -> Result<(), Failure> {
        self.store.append_log(unix_ms(), &notice)?;
        self.emit(NodeEvent::Protocol { notice });
        Ok(())
    }

    fn emit(&mut self, kind: NodeEvent) {
        let event = TimedEvent { at_ms: unix_ms(), kind };
        (self.on_event)(&event);
    }

    fn now(&self) -> Time {
        Time(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX))
    }
}

/// Milliseconds since the Unix epoch, for people and logs; nothing is decided by it.
pub fn unix_ms() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Thins training progress to what peers need to know that a slow member is not dead.
#[derive(Debug, Default)]
struct Heartbeat {
    last: Option<(JobId, Instant)>,
}

impl Heartbeat {
    fn is_due(&mut self, job: JobId) -> bool {
        let due = self.last.is_none_or(|(last, at)| last != job || at.elapsed() >= HEARTBEAT);
        if due {
            self.last = Some((job, Instant::now()));
        }
        due
    }
}

/// Between two heartbeats of one training: well under any peer's patience, few beside the votes.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// The longest the loop sleeps; it then writes what waits in the gossip log.
const IDLE_MAX: Duration = Duration::from_secs(1);
