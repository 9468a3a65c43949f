//! A federation on one machine: a bootstrap process and many node processes on loopback, watched to
//! the end, checked and scored. It starts, watches and reports; it takes no part in any round.

pub mod prepare;
pub mod report;
pub mod screen;
pub mod spawn;
pub mod strike;
pub mod watch;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::error::{Failure, FailureKind};
use crate::jobs::judge::{self, Judge, Verdict};
use crate::jobs::{Ground, turns::Turns};
use prepare::{Folder, Plan};
use report::TestnetReport;
use screen::Screen;
use spawn::{BootstrapProcess, NodeProcess, Report};
use strike::{Order, Strike};
use watch::Watch;

/// What the command line asks for.
#[derive(Clone, Debug)]
pub struct Request {
    /// A new testnet, or `None` to continue the one in `dir`.
    pub plan: Option<Plan>,
    /// Its folder.
    pub dir: PathBuf,
    /// Kill the aggregator of this round once the updates are out.
    pub kill_aggregator: Option<u64>,
    /// Train the base's other adapters too (local-only, centralised) and score them beside it.
    pub compare: bool,
}

/// The running federation.
struct Testnet {
    folder: Folder,
    watch: Watch,
    nodes: Vec<Option<NodeProcess>>,
    reports: mpsc::Receiver<Report>,
    sender: mpsc::Sender<Report>,
    strike: Option<Strike>,
    judge: judge::Handle,
    verdicts: Vec<Verdict>,
    started: Instant,
}

/// Runs a testnet to its end.
///
/// # Errors
/// Bad input, a node that does not come up, an interruption, a run that lost members.
pub async fn run(request: Request, screen: &mut Screen) -> Result<TestnetReport, Failure> {
    let base = witan_model::Base::embedded().map_err(Failure::input)?;
    let folder = match &request.plan {
        Some(plan) => Folder::create(&request.dir, plan.clone(), judge::base_digest(&base))?,
        None => Folder::open(&request.dir)?,
    };
    let bootstrap = BootstrapProcess::start(&folder.dir.join("bootstrap")).await?;
    folder.set_bootstrap(&bootstrap.address)?;
    let federation = crate::home::Home::at(folder.home(0)).read_federation()?;
    let ground = Ground::new(base, &federation)?;
    let turns = Turns::open(Some(&folder.dir.join("turns"))).map_err(Failure::environment)?;
    let judge = Judge::start(ground, folder.plan.clone(), federation, turns)?;
    let (sender, reports) = mpsc::channel(REPORTS_MAX);
    let mut testnet = Testnet {
        watch: Watch::new(folder.members.clone()),
        nodes: Vec::new(),
        reports,
        sender,
        strike: request.kill_aggregator.map(Strike::new),
        judge,
        verdicts: Vec::new(),
        started: Instant::now(),
        folder,
    };
    screen.begin(&testnet.folder);
    let outcome = testnet.federate(screen).await;
    testnet.stop_all().await;
    drop(bootstrap);
    outcome?;
    testnet.conclude(request.compare, screen).await
}

impl Testnet {
    /// Starts every node and watches until every living one has every round.
    async fn federate(&mut self, screen: &mut Screen) -> Result<(), Failure> {
        for index in 0..self.folder.plan.nodes {
            let process = self.start(index)?;
            self.nodes.push(Some(process));
        }
        let mut redraw = tokio::time::interval(REDRAW);
        let interrupt = tokio::signal::ctrl_c();
        tokio::pin!(interrupt);
        while !self.is_over() {
            tokio::select! {
                _ = &mut interrupt => return Err(self.interrupted()),
                Some(report) = self.reports.recv() => self.on_report(report, screen)?,
                Some(verdict) = self.judge.next() => self.verdicts.push(verdict?),
                _ = redraw.tick() => screen.draw(&self.watch, &self.verdicts, self.started.elapsed()),
            }
        }
        screen.draw(&self.watch, &self.verdicts, self.started.elapsed());
        Ok(())
    }

    fn on_report(&mut self, report: Report, screen: &mut Screen) -> Result<(), Failure> {
        match report {
            Report::Event { index, event } => {
                let before = self.watch.committed();
                self.watch.observe(index, &event);
                screen.tell(index, &event, &self.watch);
                if self.watch.adopted_first(before, &event.what) {
                    self.judge_round(index);
                }
            }
            Report::Ended { index, code, last_words } => self.on_end(index, code, &last_words)?,
        }
        self.strike()
    }

    fn on_end(&mut self, index: usize, code: Option<i32>, words: &str) -> Result<(), Failure> {
        self.watch.ended(index);
        self.nodes[index] = None;
        if self.strike.as_ref().is_some_and(|strike| strike.is_victim(index)) {
            return Ok(());
        }
        let how = code.map_or("was killed".to_owned(), |code| format!("ended with code {code}"));
        self.watch.remark(format!("node {index:02} {how}: {words}"));
        if self.nodes.iter().all(Option::is_none) {
            return Err(Failure::new(FailureKind::Incomplete, format!("node {index:02} {how}: {words}"))
                .hint("no node is left; `witan status --home` on a node's home says where it stood"));
        }
        Ok(())
    }

    /// Does what a planned strike wants done now, if one is planned.
    fn strike(&mut self) -> Result<(), Failure> {
        let Some(strike) = &mut self.strike else { return Ok(()) };
        match strike.next(&self.watch) {
            Some(Order::Pause(index)) => signal(&self.nodes, index, "-STOP"),
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

    fn start(&self, index: usize) -> Result<NodeProcess, Failure> {
        NodeProcess::start(index, &self.folder.home(index), self.sender.clone())
    }
}
