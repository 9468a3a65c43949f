//! FedUMM's grid: a testnet of real processes for each number of members, unevenness of the data and seed, all of
//! them at the same number of samples; beside them the base, all data in one place, and every member alone.
//!
//! ```text
//! DIR/grid.json            what all cells have in common; a folder with another is refused
//! DIR/results/NAME.json    a finished run's report; it is not run again
//! DIR/work/NAME/           the run under way: a testnet's or a training's folder, removed when it is finished
//! DIR/targets/             what a checkpoint's drawings should become, once for all trainings
//! DIR/grid.csv             every result, one a line
//! DIR/grid.md, *.svg       the tables and plots of all results in the folder
//! ```

mod cell;
mod page;
mod plot;
mod results;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;
use witan_home::{Failure, FailureKind, shell};
use witan_node::interrupt::Interrupt;
use witan_node::jobs::foundation::Foundation;
use witan_node::jobs::shard;

use crate::solo::{self, SoloReport};
use crate::testnet::report::TestnetReport;
use crate::testnet::{self, prepare};
pub use cell::{Cell, Common, Run};
pub use results::Results;

/// What the command line asks for.
#[derive(Clone, Debug)]
pub struct Request {
    /// What all cells have in common.
    pub common: Common,
    /// The cells, in the order in which they are run.
    pub cells: Vec<Cell>,
    /// The grid's folder.
    pub dir: PathBuf,
    /// A page to write of all results, its plots in a folder of its name beside it.
    pub page: Option<PathBuf>,
}

impl Request {
    /// The same without questions or captions in a step where the data have none that can be taught: none are drawn
    /// then, and all cells' samples are reckoned from those of a step.
    ///
    /// # Errors
    /// If the data are wrong, or nothing is left of a step.
    fn of_its_data(&self) -> Result<Self, Failure> {
        let mut request = self.clone();
        let plan = &mut request.common.plan;
        let foundation = Foundation::open(plan.model.as_deref())?;
        prepare::left_out(plan, &foundation)?;
        let taught = foundation.taught(&plan.data(0))?;
        if !taught.questions {
            plan.batch_questions = 0;
        }
        if !taught.captions {
            plan.batch_captions = 0;
        }
        Ok(request)
    }
}

/// What shows the runs of a grid to a person; brought by the caller.
pub trait Views {
    /// The view of one testnet.
    fn testnet(&self) -> Box<dyn testnet::View>;
    /// The view of one training.
    fn training(&self) -> Box<dyn Fn(solo::Told) + Send + Sync>;
    /// A sentence between two runs.
    fn say(&self, sentence: &str);
}

/// Runs what the folder has no result of, and writes tables and plots of all it has.
///
/// # Errors
/// A folder of another grid, a run that fails or loses a member, an interruption.
pub async fn run(request: &Request, views: &dyn Views) -> Result<Results, Failure> {
    let request = &request.of_its_data()?;
    let dir = &request.dir;
    for cell in &request.cells {
        cell.check(&request.common)?;
    }
    // Whatever is too little is so for the largest federation.
    if let Some(largest) = request.cells.iter().max_by_key(|cell| cell.clients) {
        shard::check(
            &largest.plan(&request.common).data(0),
            Foundation::open(request.common.plan.model.as_deref())?.words().as_ref(),
        )?;
    }
    if let Some(page) = &request.page {
        results::own_words(page)?;
    }
    request.common.claim(dir)?;
    let runs = cell::runs(&request.cells);
    let mut bench =
        Bench { request, views, interrupt: Interrupt::listen(), began: Instant::now(), done: 0 };
    let wanted: Vec<_> = runs.iter().filter(|run| !run.result(dir).exists()).collect();
    for (index, run) in wanted.iter().enumerate() {
        bench.announce(run, index, wanted.len());
        bench.carry_out(run).await.map_err(|failure| match failure.kind {
            FailureKind::Interrupted => {
                Failure::new(failure.kind, "interrupted; finished cells and the begun one are kept")
                    .hint("the same command goes on")
            }
            _ => failure,
        })?;
        bench.done += 1;
        // After each, so that an interrupted grid shows what it has.
        written(request)?;
    }
    written(request)
}

/// The tables, plots and page of all results so far.
fn written(request: &Request) -> Result<Results, Failure> {
    let results = Results::read(&request.dir, &request.common)?;
    results.write(&request.dir)?;
    if let Some(page) = &request.page {
        results.write_page(page)?;
    }
    Ok(results)
}

/// Runs one after the other.
struct Bench<'a> {
    request: &'a Request,
    views: &'a dyn Views,
    interrupt: Interrupt,
    began: Instant,
    done: u32,
}

impl Bench<'_> {
    fn announce(&self, run: &Run, index: usize, of: usize) {
        let left = of - index;
        let each = (self.done > 0).then(|| self.began.elapsed() / self.done);
        let left = each.map(|each| each * u32::try_from(left).unwrap_or(u32::MAX));
        let left = left.map_or(String::new(), |left| format!(", about {} left", minutes(left)));
        self.say(&format!("run {} of {of}: {run}{left}", index + 1));
    }

    async fn carry_out(&mut self, run: &Run) -> Result<(), Failure> {
        let (common, dir) = (&self.request.common, &self.request.dir);
        let work = run.work(dir);
        match run {
            Run::Federated(cell) => {
                let report = self.federate(cell, work.clone()).await?;
                keep(&run.result(dir), &report)?;
            }
            Run::Central(_) | Run::Alone(_) => {
                let report = self.train(run.order(common), work.clone()).await?;
                keep(&run.result(dir), &report)?;
            }
        }
        std::fs::remove_dir_all(&work).map_err(|error| cannot_write(&work, &error))
    }

    /// A testnet from its beginning, or from where an earlier run left it.
    async fn federate(&self, cell: &Cell, dir: PathBuf) -> Result<TestnetReport, Failure> {
        let is_begun = dir.join(prepare::PLAN).exists();
        if !is_begun && dir.exists() {
            std::fs::remove_dir_all(&dir).map_err(|error| cannot_write(&dir, &error))?;
        }
        let plan = (!is_begun).then(|| cell.plan(&self.request.common));
        let request =
            testnet::Request { plan, dir, kill_aggregator: None, kill: None, compare: false };
        let report = testnet::run(request, &mut *self.views.testnet()).await?;
        let flaw = report.flaws.first().cloned();
        let lost = report.lost.first().map(|lost| format!("{lost} did not end with every round"));
        let heads = "the ledger heads do not agree".to_owned();
        match flaw.or(lost).or((!report.ledger_heads_agree).then_some(heads)) {
            None => Ok(report),
            Some(what) => {
                let work = Run::Federated(*cell).work(&self.request.dir);
                Err(Failure::new(FailureKind::Incomplete, format!("{cell}: {what}"))
                    .hint(format!("remove {} to run this cell anew", shell::word(&work))))
            }
        }
    }

    async fn train(&mut self, order: solo::Order, dir: PathBuf) -> Result<SoloReport, Failure> {
        let order = (!dir.join(solo::ORDER).exists()).then_some(order);
        let targets = Some(self.request.dir.join("targets"));
        let request = solo::Request { order, dir, targets };
        let stopping = Arc::new(AtomicBool::new(false));
        let (flag, tell) = (Arc::clone(&stopping), self.views.training());
        let mut work = tokio::task::spawn_blocking(move || solo::run(&request, &flag, &tell));
        tokio::select! {
            outcome = &mut work => return outcome.map_err(Failure::environment)?,
            () = self.interrupt.told() => stopping.store(true, Ordering::Relaxed),
        }
        work.await.map_err(Failure::environment)?
    }

    fn say(&self, sentence: &str) {
        self.views.say(sentence);
    }
}

fn keep(path: &Path, report: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_vec(report).expect("a report is plain JSON");
    write(path, &text)
}

/// Writes a file as a whole or not at all, and its folder if there is none.
fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let new = path.with_extension("new");
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&new, bytes))
        .and_then(|()| std::fs::rename(&new, path))
        .map_err(|error| cannot_write(path, &error))
}

fn cannot_write(path: &Path, error: &std::io::Error) -> Failure {
    Failure::environment(format!("cannot write {}: {error}", path.display()))
        .hint("free space on its disk; the same command goes on")
}

fn minutes(duration: Duration) -> String {
    match duration.as_secs() {
        seconds if seconds < 90 => format!("{seconds} s"),
        seconds => format!("{} min", seconds.div_ceil(60)),
    }
}
