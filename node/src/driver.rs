//! The only loop: an event comes in, the participant decides, its outputs are carried out in order.
//! Routes; decides nothing.

mod execute;

use std::collections::VecDeque;
use std::future::Future;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use witan_files::Blobs;
use witan_home::Failure;
use witan_home::store::Store;
use witan_net as net;
use witan_net::NetHandle;
use witan_protocol::Participant;
use witan_protocol::io::{Input, JobId, Notice, Time};
use witan_protocol::member::Round;

use crate::control::{self, StatusReport, petitions};
use crate::events::{NodeEvent, TimedEvent};
use crate::jobs::{self, Jobs};

/// Everything a node is made of, ready to run.
pub struct Driver {
    /// The protocol.
    pub participant: Participant,
    /// The history.
    pub store: Store,
    /// The blobs.
    pub blobs: Blobs,
    /// The network.
    pub net: NetHandle,
    /// The work.
    pub jobs: Jobs,
    /// Receives every event, in order; must not block for long.
    pub on_event: Box<dyn FnMut(&TimedEvent) + Send>,
    /// The clock's zero.
    pub started: Instant,
    /// What was repaired when the store was opened; reported first.
    pub repairs: Vec<String>,
}

/// Where events come from.
pub struct Sources {
    /// From the network.
    pub net: mpsc::Receiver<net::Event>,
    /// From the work.
    pub jobs: mpsc::Receiver<jobs::Event>,
    /// From the control socket.
    pub control: mpsc::Receiver<control::Request>,
}

/// One turn of the loop.
enum Event {
    Net(net::Event),
    Job(jobs::Event),
    Control(control::Request),
    Timer,
    Stop,
}

impl Driver {
    /// Runs until `stop` resolves or a control request says so. Returns whom the run lost, by name:
    /// members who took no part in the last round and are not here, once every round is committed.
    ///
    /// # Errors
    /// If the disk refuses or a worker dies; everything persisted before stays so.
    pub async fn run(
        mut self,
        mut sources: Sources,
        stop: impl Future<Output = ()>,
    ) -> Result<Vec<String>, Failure> {
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
            let event = self.next_event(&mut sources, &mut stop).await;
            match event {
                Event::Stop => break,
                Event::Timer => {
                    self.store.write_log()?;
                    inputs.push_back(Input::Tick);
                }
                Event::Net(event) => inputs.extend(self.on_net(event)),
                Event::Job(event) => inputs.extend(self.on_job(event, &mut heartbeat)?),
                Event::Control(request) => {
                    if self.on_control(request, &mut inputs) {
                        break;
                    }
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

    async fn next_event(
        &mut self,
        sources: &mut Sources,
        stop: &mut (impl Future<Output = ()> + Unpin),
    ) -> Event {
        let wait = self
            .participant
            .next_timeout()
            .map_or(IDLE_MAX, |at| Duration::from_millis(at.0.saturating_sub(self.now().0)));
        tokio::select! {
            biased;
            () = stop => Event::Stop,
            Some(event) = sources.jobs.recv() => Event::Job(event),
            Some(event) = sources.net.recv() => Event::Net(event),
            Some(request) = sources.control.recv() => Event::Control(request),
            () = tokio::time::sleep(wait.min(IDLE_MAX)) => Event::Timer,
        }
    }

    fn on_net(&mut self, event: net::Event) -> Option<Input> {
        match event {
            net::Event::Listening(address) => {
                self.emit(NodeEvent::Listening { address });
                None
            }
            net::Event::PeerRefused { peer, reason } => {
                self.emit(NodeEvent::PeerRefused { peer, reason });
                None
            }
            net::Event::Connected(member) => {
                self.emit(NodeEvent::Connected { member });
                Some(Input::PeerConnected(member))
            }
            net::Event::Disconnected(member) => {
                self.emit(NodeEvent::Disconnected { member });
                Some(Input::PeerDisconnected(member))
            }
            net::Event::Message { via, opened } => Some(Input::Message { via, opened }),
            net::Event::BlobStored(blob) => {
                self.emit(NodeEvent::BlobStored { digest: blob.digest });
                Some(Input::BlobStored(blob))
            }
        }
    }

    fn on_job(
        &mut self,
        event: jobs::Event,
        heartbeat: &mut Heartbeat,
    ) -> Result<Option<Input>, Failure> {
        Ok(match event {
            jobs::Event::Preparing { done, pictures } => {
                self.emit(NodeEvent::Preparing { done, pictures });
                None
            }
            jobs::Event::Progress { job, round, step, steps, examples, loss } => {
                self.emit(NodeEvent::Training { round, step, steps, examples, loss });
                heartbeat.is_due(job).then_some(Input::Progress { job, step, steps, loss })
            }
            jobs::Event::Done { round, input } => {
                match &input {
                    Input::Trained { delta, .. } => {
                        self.emit(NodeEvent::Trained { round, delta: delta.digest });
                    }
                    Input::TrainFailed { reason, .. } => {
                        self.emit(NodeEvent::SitsOut { round, reason: reason.clone() });
                    }
                    Input::Adopted { .. } => self.emit_adopted(round),
                    _ => {}
                }
                Some(input)
            }
            jobs::Event::Broken(failure) => return Err(failure),
        })
    }

    /// Answers a control request; true if it asks the node to stop.
    fn on_control(&mut self, request: control::Request, inputs: &mut VecDeque<Input>) -> bool {
        match request {
            control::Request::Petitions(reply) => {
                let _ = reply.send(petitions::rows(&self.participant));
                false
            }
            control::Request::Cast(say, reply) => {
                let ballot = petitions::ballot(&self.participant, &say);
                let _ = reply.send(ballot.as_ref().map(|b| b.petition.id()).map_err(String::clone));
                inputs.extend(ballot.ok().map(Input::Cast));
                false
            }
            control::Request::Status(reply) => {
                let report = StatusReport { now: self.now(), status: self.participant.status() };
                let _ = reply.send(report);
                false
            }
            control::Request::Log(filter, reply) => {
                let _ = reply.send(self.store.log(&filter));
                false
            }
            control::Request::Stop(reply) => {
                let _ = reply.send(());
                true
            }
        }
    }

    fn emit_adopted(&mut self, round: Round) {
        let traffic = self.net.traffic();
        self.emit(NodeEvent::Adopted {
            round,
            bytes_in: traffic.bytes_in,
            bytes_out: traffic.bytes_out,
        });
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
