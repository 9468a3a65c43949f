//! FedUMM's grid: a testnet of real processes for each number of members, unevenness of the data
//! and seed, all of them at the same number of samples; beside them the base, all data in one
//! place, and every member alone.
//!
//! ```text
//! DIR/grid.json            what all cells have in common; a folder with another is refused
//! DIR/results/NAME.json    a finished run's report; it is not run again
//! DIR/work/NAME/           the folder of the run under way, removed when it is finished
//! DIR/targets/             what a checkpoint's drawings should become, once for all trainings
//! DIR/grid.csv             every result, one a line
//! DIR/grid.md, *.svg       the tables and plots of all results in the folder
//! ```

mod cell;
mod page;
mod plot;
mod results;

use std::path::{Path, PathBuf};
use std::time::Instant;

use witan_home::{Failure, FailureKind, shell};
use witan_node::interrupt::Interrupt;

use crate::event::{Event, Listener};
use crate::folder::{Folder, Kind};
use crate::spec::Spec;
use crate::testnet::Mode;
use crate::testnet::report::TestnetReport;
use crate::{testnet, train};
pub use cell::{Cell, GridSpec, Run};
pub use results::Results;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// Questions and captions that all members of a cell draw together; as many as those of the
    /// usual testnet.
    pub samples: Option<u64>,
    /// What all cells have in common.
    pub spec: Spec,
    /// The cells, in the order in which they are run.
    pub cells: Vec<Cell>,
    /// The grid's folder.
    pub dir: PathBuf,
    /// A page to write of all results, its plots in a folder of its name beside it.
    pub page: Option<PathBuf>,
}

/// Runs what the folder has no result of, and writes tables and plots of all it has.
///
/// # Errors
/// A folder of another grid, a run that fails or loses a member, an interruption.
pub async fn run(request: Request, listener: Listener) -> Result<Results, Failure> {
    let spec = &GridSpec::of(request.samples, request.spec.clone(), &request.cells)?;
    let page = request.page.as_deref();
    page.map_or(Ok(String::new()), results::own_words)?;
    let folder = spec.claim(&request.dir)?;
    let runs = cell::runs(&request.cells);
    let wanted: Vec<_> = runs.iter().filter(|run| !folder.path(run.result()).exists()).collect();
    let interrupt = Interrupt::listen();
    let mut bench = Bench { folder: &folder, spec, listener, interrupt, began: Instant::now() };
    for (done, run) in wanted.iter().enumerate() {
        bench.announce(run, done, wanted.len());
        bench.carry_out(run).await.map_err(|failure| match failure.kind {
            FailureKind::Interrupted => {
                Failure::new(failure.kind, "interrupted; finished cells and the begun one are kept")
                    .hint("the same command goes on")
            }
            _ => failure,
        })?;
        // After each, so that an interrupted grid shows what it has.
        written(&folder, spec, page)?;
    }
    written(&folder, spec, page)
}

/// The tables, plots and page of all results so far.
fn written(folder: &Folder, spec: &GridSpec, page: Option<&Path>) -> Result<Results, Failure> {
    let results = Results::read(folder, spec)?;
    results.write(folder)?;
    page.map_or(Ok(()), |page| results.write_page(page))?;
    Ok(results)
}

/// Runs one after the other.
struct Bench<'a> {
    folder: &'a Folder,
    spec: &'a GridSpec,
    listener: Listener,
    interrupt: Interrupt,
    began: Instant,
}

impl Bench<'_> {
    fn announce(&self, run: &Run, done: usize, of: usize) {
        let [finished, left] = [done, of - done].map(|it| u32::try_from(it).unwrap_or(u32::MAX));
        let left = self.began.elapsed().checked_div(finished).map(|each| each * left);
        (self.listener)(&Event::Run { run: run.to_string(), number: done + 1, of, left });
    }

    async fn carry_out(&mut self, run: &Run) -> Result<(), Failure> {
        match run {
            Run::Federated(cell) => {
                let report = self.federate(cell, self.folder.path(run.work())).await?;
                self.folder.write_json(run.result(), &report)?;
            }
            Run::Central(_) | Run::Alone(_) => {
                let dir = self.folder.path(run.work());
                let spec = (!Kind::Train.is_in(&dir)).then(|| run.train_spec(self.spec));
                let targets = Some(self.folder.path("targets"));
                let request = train::Request { spec, dir, targets };
                let listener = self.listener.clone();
                let report = train::run(request, listener, &mut self.interrupt).await?;
                self.folder.write_json(run.result(), &report)?;
            }
        }
        self.folder.remove(run.work())
    }

    /// A testnet from its beginning, or from where an earlier run left it.
    async fn federate(&self, cell: &Cell, dir: PathBuf) -> Result<TestnetReport, Failure> {
        let work = Run::Federated(*cell).work();
        let is_begun = Kind::Testnet.is_in(&dir);
        if !is_begun {
            self.folder.remove(&work)?;
        }
        let spec = (!is_begun).then(|| cell.spec(self.spec));
        let mode = Mode::Processes { fault: None };
        let request = testnet::Request { spec, dir, mode, compare: false };
        let report = testnet::run(request, self.listener.clone()).await?;
        let flaw = report.flaws.first().cloned();
        let lost = report.lost.first().map(|lost| format!("{lost} did not end with every round"));
        let heads = "the ledger heads do not agree".to_owned();
        match flaw.or(lost).or((!report.ledger_heads_agree).then_some(heads)) {
            None => Ok(report),
            Some(what) => {
                let work = shell::word(&self.folder.path(work));
                Err(Failure::new(FailureKind::Incomplete, format!("{cell}: {what}"))
                    .hint(format!("remove {work} to run this cell anew")))
            }
        }
    }
}
