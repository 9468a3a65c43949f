//! The nodes of a testnet as processes of their own: started, listened to, struck by a fault,
//! stopped.

use std::process::Command;
use std::time::Duration;

use witan_files::Blobs;
use witan_home::{Failure, FailureKind, Home};
use witan_node::driver::unix_ms;
use witan_node::events::{NodeEvent, TimedEvent};
use witan_protocol::io::Notice;

use super::fault::{Action, Fault};
use super::report::Cost;
use super::spawn::{BootstrapProcess, NodeProcess};
use super::{Testnet, interrupted};
use crate::event::Event;

impl Testnet {
    /// Runs a bootstrap peer and every node until every living one has every round, then stops
    /// them.
    pub(super) async fn federate(&mut self, cost: &mut Cost) -> Result<(), Failure> {
        let home = self.homes.folder.path("bootstrap");
        let bootstrap = tokio::select! {
            started = BootstrapProcess::start(&home) => started?,
            () = self.interrupt.told() => return Err(interrupted(&self.homes)),
        };
        self.bootstrap.clone_from(&bootstrap.address);
        let outcome = self.watch_all().await;
        cost.federation_s = self.started.elapsed().as_secs_f64();
        cost.peak_bytes_max = self.nodes.iter().flatten().filter_map(NodeProcess::peak_bytes).max();
        outcome.and(self.stop_all().await)
    }

    /// Starts every node and watches until every living one has every round.
    async fn watch_all(&mut self) -> Result<(), Failure> {
        for index in 0..self.homes.spec.cohort.nodes {
            let process = self.start(index)?;
            self.nodes.push(Some(process));
        }
        while !self.is_over() {
            tokio::select! {
                () = self.interrupt.told() => return Err(interrupted(&self.homes)),
                Some(heard) = self.events.recv() => self.on_event(heard?)?,
            }
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        let quorum = self.federation.founders().quorum();
        let is_fault_over =
            self.fault.as_ref().is_none_or(|fault| fault.is_over(&self.watch, quorum));
        self.watch.is_finished() && is_fault_over
    }

    fn on_event(&mut self, event: Event) -> Result<(), Failure> {
        self.note(&event);
        match event {
            Event::Node { node, event } => self.on_node_event(node, &event)?,
            Event::Ended { node, code, stderr } => self.on_end(node, code, &stderr)?,
            _ => {}
        }
        self.inject()
    }

    fn on_node_event(&mut self, index: usize, event: &TimedEvent) -> Result<(), Failure> {
        match &event.kind {
            // Evaluated when the first node has adopted it.
            NodeEvent::Protocol { notice: Notice::Committed { round, result, .. } } => {
                let blobs = Blobs::open(Home::at(self.homes.home(index)).blobs())?;
                if round.0 > self.evaluated && blobs.has(result) {
                    self.evaluated = round.0;
                    self.evaluator.evaluate(round.0, blobs.read(result)?);
                }
                Ok(())
            }
            NodeEvent::SitsOut { round, reason } if self.watch.nobody_trains(*round) => {
                let message = format!("no node can train round {round}: {reason}");
                Err(Failure::new(FailureKind::Incomplete, message)
                    .hint(self.model.base.teaching_hint()))
            }
            _ => Ok(()),
        }
    }

    fn on_end(&mut self, index: usize, code: Option<i32>, stderr: &str) -> Result<(), Failure> {
        self.nodes[index] = None;
        let all = self.nodes.len();
        if self.fault.as_ref().is_some_and(|fault| fault.is_victim(index, all)) {
            return Ok(());
        }
        let how = code.map_or("was killed".to_owned(), |code| format!("ended with code {code}"));
        let end = format!("node-{index:02} {how}");
        (self.listener)(&Event::Said(format!("{end}: {stderr}")));
        let living = self.nodes.iter().filter(|node| node.is_some()).count();
        let needed = self.federation.founders().quorum();
        if living < needed {
            let mut errors = stderr.lines().filter_map(|line| line.strip_prefix("error: "));
            let error = errors.next().unwrap_or("without a word");
            let message =
                format!("{living} of {all} nodes are left and {needed} must vote; {end}: {error}");
            return Err(Failure::new(FailureKind::Incomplete, message)
                .hint(format!("fix that, then: {}", self.homes.folder.resume_command())));
        }
        Ok(())
    }

    /// Does what a fault wants done now, if there is one.
    fn inject(&mut self) -> Result<(), Failure> {
        let (watch, quorum) = (&self.watch, self.federation.founders().quorum());
        match self.fault.as_mut().and_then(|fault| fault.next(watch, quorum, unix_ms())) {
            Some(Action::Pause(index)) => self.pause(index)?,
            Some(Action::Kill(index)) => {
                if let Some(node) = &mut self.nodes[index] {
                    node.kill();
                }
            }
            Some(Action::Restart(index)) => {
                let process = self.start(index)?;
                self.nodes[index] = Some(process);
            }
            None => {}
        }
        Ok(())
    }

    fn pause(&self, index: usize) -> Result<(), Failure> {
        let Some(node) = &self.nodes[index] else { return Ok(()) };
        let status = Command::new("kill").args(["-STOP", &node.pid.to_string()]).status();
        match status {
            Ok(status) if status.success() => Ok(()),
            _ => Err(Failure::environment(format!("cannot pause node-{index:02} with `kill`"))),
        }
    }

    fn start(&mut self, node: usize) -> Result<NodeProcess, Failure> {
        self.note(&Event::Started { node });
        NodeProcess::start(node, &self.homes.home(node), &self.bootstrap, self.sender.clone())
    }

    /// Stops every node cleanly; one that does not end in time, or that cannot because it is
    /// paused, is killed. A second interrupt ends all patience.
    async fn stop_all(&mut self) -> Result<(), Failure> {
        for node in self.nodes.iter_mut().flatten() {
            node.stop();
        }
        if let Some(paused) = self.fault.as_ref().and_then(Fault::paused)
            && let Some(node) = &mut self.nodes[paused]
        {
            node.kill();
        }
        let patience = tokio::time::Instant::now() + STOP_MAX;
        let mut outcome = Ok(());
        while self.nodes.iter().any(Option::is_some) {
            tokio::select! {
                () = self.interrupt.told_again() => break,
                () = tokio::time::sleep_until(patience) => break,
                Some(heard) = self.events.recv() => match heard {
                    Ok(event) => self.on_late_event(event),
                    Err(failure) => outcome = Err(failure),
                },
            }
        }
        for node in self.nodes.iter_mut().flatten() {
            node.kill();
        }
        outcome
    }
}

/// How long a node may take to stop.
const STOP_MAX: Duration = Duration::from_secs(15);
