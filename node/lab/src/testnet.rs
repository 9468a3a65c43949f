//! A federation on one machine: a bootstrap process and many node processes on loopback, watched to
//! the end, checked and scored. It starts, watches and reports; it takes no part in any round.

mod conclude;
pub mod losses;
pub mod past;
pub mod prepare;
pub mod report;
pub mod spawn;
pub mod strike;
pub mod watch;

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use witan_files::Blobs;
use witan_home::{Failure, FailureKind, Home};
use witan_node::driver::unix_ms;
use witan_node::events::{NodeEvent, TimedEvent};
use witan_node::interrupt::Interrupt;
use witan_node::jobs::foundation::Foundation;
use witan_node::jobs::turns::Turns;
use witan_node::jobs::{Ground, device, shard};
use witan_protocol::federation::Federation;
use witan_protocol::io::Notice;
use witan_protocol::ledger::Audited;
use witan_protocol::member::Round;

use crate::judge::{self, Case, Verdict};
use losses::{Losses, Toll};
use past::Past;
use prepare::{Folder, Plan};
use report::TestnetReport;
use spawn::{BootstrapProcess, NodeProcess, Report};
use strike::{Order, Strike};
use watch::Watch;

/// What shows a testnet to a person while it runs; brought by the caller.
pub trait View {
    /// The testnet is about to start.
    fn begin(&mut self, folder: &Folder);
    /// One event of a node.
    fn tell(&self, index: usize, event: &TimedEvent, watch: &Watch);
    /// A sentence.
    fn say(&self, sentence: &str);
    /// Shows how far it is.
    fn draw(&self, watch: &Watch, verdicts: &[Verdict], elapsed: Duration);
    /// Leaves the terminal to others.
    fn end(&self);
}

/// What the command line asks for.
#[derive(Clone, Debug)]
pub struct Request {
    /// A new testnet, or `None` to continue the one in `dir`.
    pub plan: Option<Plan>,
    /// Its folder.
    pub dir: PathBuf,
    /// Kill the aggregator of this round once the updates are out.
    pub kill_aggregator: Option<u64>,
    /// Kill members for good.
    pub kill: Option<Toll>,
    /// Train what the federation is compared with.
    pub compare: bool,
}

/// The running federation.
struct Testnet {
    folder: Folder,
    watch: Watch,
    federation: Federation,
    ground: Ground,
    nodes: Vec<Option<NodeProcess>>,
    reports: mpsc::Receiver<Report>,
    sender: mpsc::Sender<Report>,
    strike: Option<Strike>,
    losses: Option<Losses>,
    judge: judge::Handle,
    verdicts: Vec<Verdict>,
    judged: u64,
    sizes: (u64, u64),
    started: Instant,
    interrupt: Interrupt,
    /// Where this run's bootstrap peer listens.
    bootstrap: String,
}

/// Runs a testnet to its end.
///
/// # Errors
/// Bad input, a node that does not come up, an interruption, a run that lost members.
pub async fn run(request: Request, screen: &mut dyn View) -> Result<TestnetReport, Failure> {
    let folder = prepare(&request, screen)?;
    // Only from here on is there something to stop.
    let mut interrupt = Interrupt::listen();
    let bootstrap_home = folder.dir.join("bootstrap");
    let bootstrap = tokio::select! {
        started = BootstrapProcess::start(&bootstrap_home) => started?,
        () = interrupt.told() => return Err(interrupted(&folder)),
    };
    let first = Home::at(folder.home(0));
    let federation = first.read_federation()?;
    let ground = Ground::of_home(&first, &federation)?;
    let model_bytes = ground.foundation.full_bytes();
    let past = Past::of(&folder, &federation, &ground);
    let form = ground.recipe.form(Round(1), &ground.initial);
    let delta_bytes = form.encode(&ground.initial, ground.lora.rank).len() as u64;
    let sizes = (delta_bytes, model_bytes);
    let judge = judge::start(Case {
        ground: ground.clone(),
        federation: federation.clone(),
        data: folder.plan.data(0),
        device: device::open(folder.plan.device)?,
        turns: Turns::open(Some(&folder.dir.join("turns"))).map_err(Failure::environment)?,
        targets: folder.dir.join("targets"),
    })?;
    let (sender, reports) = mpsc::channel(REPORTS_MAX);
    screen.begin(&folder);
    let mut testnet = Testnet {
        watch: Watch::new(folder.members.clone()),
        losses: request.kill.map(|toll| Losses::new(toll, federation.founders().quorum())),
        federation,
        ground,
        nodes: Vec::new(),
        reports,
        sender,
        strike: request.kill_aggregator.map(Strike::new),
        judge,
        verdicts: Vec::new(),
        judged: 0,
        sizes,
        started: Instant::now(),
        interrupt,
        bootstrap: bootstrap.address.clone(),
        folder,
    };
    testnet.recall(&past)?;
    let outcome = testnet.federate(screen).await;
    let federation_s = testnet.started.elapsed().as_secs_f64();
    let peak_bytes = testnet.nodes.iter().flatten().filter_map(NodeProcess::peak_bytes).max();
    testnet.stop_all().await;
    drop(bootstrap);
    outcome?;
    testnet.conclude(request.compare, (federation_s, peak_bytes), screen).await
}

impl Testnet {
    /// Takes in what earlier runs committed, and has the newest of it judged.
    fn recall(&mut self, past: &Past) -> Result<(), Failure> {
        for audited in &past.records {
            self.watch.recall(&audited.record);
        }
        if let Some(Audited { record: newest, .. }) = past.records.last() {
            let blobs = Blobs::open(Home::at(self.folder.home(past.holder)).blobs())?;
            // If it was altered, that node refuses it and the check at the end names it.
            if let Ok(adapter) = blobs.read(&newest.proposal.result) {
                self.judged = newest.proposal.round.0;
                self.judge.score(self.judged, adapter);
            }
        }
        Ok(())
    }

    /// Starts every node and watches until every living one has every round.
    async fn federate(&mut self, screen: &mut dyn View) -> Result<(), Failure> {
        for index in 0..self.folder.plan.nodes {
            let process = self.start(index)?;
            self.nodes.push(Some(process));
        }
        let mut redraw = tokio::time::interval(REDRAW);
        while !self.is_over() {
            tokio::select! {
                () = self.interrupt.told() => return Err(interrupted(&self.folder)),
                Some(report) = self.reports.recv() => self.on_report(report, screen)?,
                Some(verdict) = self.judge.next() => self.on_verdict(verdict?, screen),
                _ = redraw.tick() => {
                    screen.draw(&self.watch, &self.verdicts, self.started.elapsed());
                }
            }
        }
        screen.draw(&self.watch, &self.verdicts, self.started.elapsed());
        Ok(())
    }

    fn is_over(&self) -> bool {
        let strike_is_done = self.strike.as_ref().is_none_or(|strike| {
            let is_past = self.watch.newest_round() > strike.round() || self.watch.is_finished();
            strike.is_over() || (is_past && strike.victim().is_none())
        });
        let losses_are_done = self.losses.as_ref().is_none_or(|losses| losses.is_over(&self.watch));
        self.watch.is_finished() && strike_is_done && losses_are_done
    }

    fn on_report(&mut self, report: Report, screen: &mut dyn View) -> Result<(), Failure> {
        match report {
            Report::Event { index, event } => {
                self.watch.observe(index, &event);
                screen.tell(index, &event, &self.watch);
                self.judge_round(index, &event)?;
                if let NodeEvent::SitsOut { round, reason } = &event.kind
                    && self.watch.nobody_trains(*round)
                {
                    let message = format!("no node can train round {round}: {reason}");
                    return Err(Failure::new(FailureKind::Incomplete, message)
                        .hint(self.ground.foundation.what_can_be_taught()));
                }
            }
            Report::Ended { index, code, last_words } => {
                self.on_end(index, code, &last_words, screen)?;
            }
        }
        self.strike()
    }

    /// Has the adapter of a round judged when the first node has adopted it.
    fn judge_round(&mut self, index: usize, event: &TimedEvent) -> Result<(), Failure> {
        let NodeEvent::Protocol { notice: Notice::Committed { round, result, .. } } = &event.kind
        else {
            return Ok(());
        };
        let blobs = Blobs::open(Home::at(self.folder.home(index)).blobs())?;
        if round.0 > self.judged && blobs.has(result) {
            self.judged = round.0;
            self.judge.score(round.0, blobs.read(result)?);
        }
        Ok(())
    }

    fn on_end(
        &mut self,
        index: usize,
        code: Option<i32>,
        words: &str,
        screen: &dyn View,
    ) -> Result<(), Failure> {
        self.watch.ended(index);
        self.nodes[index] = None;
        let nodes = self.nodes.len();
        if self.strike.as_ref().is_some_and(|strike| strike.is_victim(index))
            || self.losses.as_ref().is_some_and(|losses| losses.is_victim(index, nodes))
        {
            return Ok(());
        }
        let how = code.map_or("was killed".to_owned(), |code| format!("ended with code {code}"));
        let end = format!("node-{index:02} {how}: {words}");
        screen.say(&end);
        self.watch.remark(end);
        let living = self.nodes.iter().filter(|node| node.is_some()).count();
        let needed = self.federation.founders().quorum();
        if living < needed {
            let all = self.nodes.len();
            let mut errors = words.lines().filter_map(|line| line.strip_prefix("error: "));
            let words = errors.next().unwrap_or("without a word");
            let message = format!(
                "{living} of {all} nodes are left and {needed} must vote; node-{index:02} {how}: {words}"
            );
            return Err(Failure::new(FailureKind::Incomplete, message)
                .hint(format!("mend that, then: {}", self.folder.resume_command())));
        }
        Ok(())
    }

    /// Does what a planned strike or loss wants done now, if one is planned.
    fn strike(&mut self) -> Result<(), Failure> {
        let (watch, now_ms) = (&self.watch, unix_ms());
        let struck = self.strike.as_mut().and_then(|strike| strike.next(watch, now_ms));
        match struck.or_else(|| self.losses.as_mut().and_then(|losses| losses.next(watch, now_ms)))
        {
            Some(Order::Pause(index)) => self.pause(index)?,
            Some(Order::Kill(index)) => {
                if let Some(node) = &mut self.nodes[index] {
                    node.kill();
                }
            }
            Some(Order::Restart(index)) => {
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

    fn start(&mut self, index: usize) -> Result<NodeProcess, Failure> {
        self.watch.started(index);
        let home = self.folder.home(index);
        NodeProcess::start(index, &home, &self.bootstrap, self.sender.clone())
    }

    /// Stops every node cleanly; one that does not end in time, or that cannot because a strike has
    /// paused it, is killed. A second interrupt ends all patience.
    async fn stop_all(&mut self) {
        for node in self.nodes.iter_mut().flatten() {
            node.stop();
        }
        if let Some(paused) = self.strike.as_ref().and_then(Strike::paused)
            && let Some(node) = &mut self.nodes[paused]
        {
            node.kill();
        }
        let patience = tokio::time::Instant::now() + STOP_MAX;
        while self.nodes.iter().any(Option::is_some) {
            tokio::select! {
                () = self.interrupt.told_again() => break,
                () = tokio::time::sleep_until(patience) => break,
                report = self.reports.recv() => match report {
                    Some(Report::Ended { index, .. }) => self.nodes[index] = None,
                    Some(Report::Event { .. }) => {}
                    None => break,
                },
            }
        }
        for node in self.nodes.iter_mut().flatten() {
            node.kill();
        }
    }
}

fn interrupted(folder: &Folder) -> Failure {
    Failure::new(FailureKind::Interrupted, "interrupted; every process is stopped")
        .hint(format!("continue with: {}", folder.resume_command()))
}

fn prepare(request: &Request, screen: &dyn View) -> Result<Folder, Failure> {
    let check = |plan: &Plan| -> Result<Foundation, Failure> {
        device::open(plan.device)?;
        let foundation = Foundation::open(plan.model.as_deref())?;
        foundation.takes(plan.strategy)?;
        foundation.has_layers(&plan.lora.of(foundation.lora()))?;
        request.kill_aggregator.map_or(Ok(()), |round| Strike::check(round, plan))?;
        request.kill.map_or(Ok(()), |toll| toll.check(plan))?;
        for index in shard::check(&plan.data(0), foundation.words().as_ref())? {
            screen
                .say(&format!("node-{index:02} has nothing the model can be taught: it sits out"));
        }
        if let Some(left_out) = prepare::left_out(plan, &foundation)? {
            screen.say(&left_out);
        }
        Ok(foundation)
    };
    match &request.plan {
        Some(plan) => {
            Folder::is_free(&request.dir)?;
            let foundation = check(plan)?;
            Folder::create(&request.dir, plan.clone(), &foundation)
        }
        None => {
            let folder = Folder::open(&request.dir)?;
            check(&folder.plan)?;
            Ok(folder)
        }
    }
}

/// Between two redraws of the screen.
const REDRAW: Duration = Duration::from_millis(200);
/// How long a node may take to stop.
const STOP_MAX: Duration = Duration::from_secs(15);
/// Reports waiting for the launcher; a node that is ahead of it waits.
const REPORTS_MAX: usize = 4096;
