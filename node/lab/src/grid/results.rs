//! Every result in a grid's folder: as lines of `grid.csv`, and as means over seeds.

use std::io::ErrorKind;
use std::path::Path;

use witan_data::metrics::Metrics;
use witan_home::Failure;

use super::cell::{Cell, GridSpec, Run};
use crate::folder::{self, Folder};
use crate::tables::{METRICS, Mean, values};
use crate::testnet::report::TestnetReport;
use crate::train::TrainReport;

/// All results of a folder.
pub struct Results {
    /// What they have in common.
    pub spec: GridSpec,
    /// The federations, by seed, members and α.
    pub federated: Vec<(Cell, TestnetReport)>,
    /// The members of a federation, each alone.
    pub alone: Vec<(Cell, TrainReport)>,
    /// All data in one place, by seed.
    pub central: Vec<(u64, TrainReport)>,
}

impl Results {
    /// Reads every finished run of a folder.
    pub fn read(folder: &Folder, spec: &GridSpec) -> Result<Self, Failure> {
        let spec = spec.clone();
        let mut all = Self { spec, federated: vec![], alone: vec![], central: vec![] };
        let entries = std::fs::read_dir(folder.path("results"));
        for path in entries.into_iter().flatten().flatten().map(|entry| entry.path()) {
            let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
            let is_result = path.extension().is_some_and(|ending| ending == "json");
            let Some(run) = Run::named(name).filter(|_| is_result) else { continue };
            all.take(folder, run)?;
        }
        let order = |cell: &Cell| (cell.clients, cell.alpha.unwrap_or(f64::INFINITY), cell.seed);
        all.federated.sort_by(|a, b| order(&a.0).partial_cmp(&order(&b.0)).expect("no α is NaN"));
        all.alone.sort_by(|a, b| order(&a.0).partial_cmp(&order(&b.0)).expect("no α is NaN"));
        all.central.sort_by_key(|(seed, _)| *seed);
        Ok(all)
    }

    /// The pairs of members and α that were federated, each once, in order.
    pub fn columns(&self) -> Vec<(usize, Option<f64>)> {
        let mut pairs: Vec<_> =
            self.federated.iter().map(|(cell, _)| (cell.clients, cell.alpha)).collect();
        pairs.dedup();
        pairs
    }

    /// The federations of a pair, by seed.
    pub fn of(
        &self,
        (clients, alpha): (usize, Option<f64>),
    ) -> impl Iterator<Item = &(Cell, TestnetReport)> {
        self.federated
            .iter()
            .filter(move |(cell, _)| (cell.clients, cell.alpha) == (clients, alpha))
    }

    /// The centralised run of a seed.
    pub fn central_of(&self, seed: u64) -> Option<&TrainReport> {
        self.central.iter().find(|(other, _)| *other == seed).map(|(_, report)| report)
    }

    /// The members of a cell, each alone.
    pub fn alone_of(&self, wanted: &Cell) -> Option<&TrainReport> {
        self.alone.iter().find(|(cell, _)| cell == wanted).map(|(_, report)| report)
    }

    /// What a federation keeps of the gain that all data in one place bring over the base, 1 for
    /// all of it.
    pub fn kept(
        &self,
        (cell, report): &(Cell, TestnetReport),
        value: fn(&Metrics) -> Option<f64>,
    ) -> Option<f64> {
        let central = self.central_of(cell.seed)?;
        let base = value(&central.base)?;
        let gain = value(&central.trained.first()?.metrics)? - base;
        let kept = value(report.comparison.federated.as_ref()?)? - base;
        (gain > 0.0).then_some(kept / gain)
    }

    /// Writes `grid.csv`, `grid.md` and the plots.
    pub fn write(&self, folder: &Folder) -> Result<(), Failure> {
        folder.write("grid.csv", self.csv().as_bytes())?;
        folder.write("grid.md", format!("{HEAD}{}", self.page("")).as_bytes())?;
        self.plot(&folder.dir)
    }

    /// Writes the page with its plots in a folder of its name, in lower case, beside it. What an
    /// earlier page says above its line stays.
    pub fn write_page(&self, file: &Path) -> Result<(), Failure> {
        let stem = file.file_stem().unwrap_or_default().to_string_lossy().to_lowercase();
        let page = format!("{}{LINE}\n{}", own_words(file)?, self.page(&format!("{stem}/")));
        folder::write(file, page.as_bytes())?;
        self.plot(&file.with_file_name(stem))
    }

    /// One line for every result; fields that a result does not have are empty.
    pub fn csv(&self) -> String {
        let mut text = csv_head();
        for (seed, report) in &self.central {
            text += &line(&["base", "", "", &seed.to_string(), ""], &report.base, &[]);
            for row in &report.trained {
                let drawn = row.examples.to_string();
                let head = ["centralised", "", "", &seed.to_string(), &drawn];
                text += &line(&head, &row.metrics, &[]);
            }
        }
        for (cell, report) in &self.alone {
            let (clients, seed) = (cell.clients.to_string(), cell.seed.to_string());
            for row in &report.trained {
                let drawn = row.examples.to_string();
                let head = [&row.name, &clients, &cell.alpha_name(), &seed, &drawn];
                text += &line(&head.map(|it| it.as_str()), &row.metrics, &[]);
            }
        }
        for (cell, report) in &self.federated {
            let (clients, seed) = (cell.clients.to_string(), cell.seed.to_string());
            let drawn = drawn(report).to_string();
            let head = ["federated", &clients, &cell.alpha_name(), &seed, &drawn];
            let metrics = report.comparison.federated.clone().unwrap_or_default();
            text += &line(&head, &metrics, &costs(report));
        }
        text
    }

    fn take(&mut self, folder: &Folder, run: Run) -> Result<(), Failure> {
        let file = run.result();
        match run {
            Run::Central(seed) => {
                self.central.extend(folder.read_json(file)?.map(|report| (seed, report)));
            }
            Run::Alone(cell) => {
                self.alone.extend(folder.read_json(file)?.map(|report| (cell, report)));
            }
            Run::Federated(cell) => {
                self.federated.extend(folder.read_json(file)?.map(|report| (cell, report)));
            }
        }
        Ok(())
    }
}

/// What somebody wrote above the line of a page; a heading where there is no page yet.
pub(super) fn own_words(file: &Path) -> Result<String, Failure> {
    let other =
        || format!("name another file, or add the line {LINE} to it: what follows is replaced");
    match std::fs::read_to_string(file) {
        Ok(page) => match page.split_once(LINE) {
            Some((own, _)) => Ok(own.to_owned()),
            None => {
                let message = format!("{} exists and is no page of a grid", file.display());
                Err(Failure::input(message).hint(other()))
            }
        },
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(HEAD.to_owned()),
        Err(error) => {
            let message = format!("cannot read {}: {error}", file.display());
            Err(Failure::input(message).hint(other()))
        }
    }
}

/// Questions and captions that the members of a federation drew, by their own signed updates.
pub(super) fn drawn(report: &TestnetReport) -> u64 {
    report.rounds.iter().map(|round| round.examples).sum()
}

/// What a round cost, in the mean over the rounds this run has seen: megabytes that the busiest
/// member received and sent, seconds until the last update, seconds from it to the commit; then
/// megabytes of memory.
pub(super) fn costs(report: &TestnetReport) -> [Option<f64>; 5] {
    let rounds = || report.rounds.iter().filter(|round| round.train_s.is_some());
    let mean = |value: fn(&crate::testnet::report::RoundRow) -> f64| {
        Mean::over(rounds().map(value)).map(|mean| mean.value)
    };
    [
        mean(|round| round.bytes_in_max as f64 / 1e6),
        mean(|round| round.bytes_out_max as f64 / 1e6),
        mean(|round| round.train_s.unwrap_or(0.0)),
        mean(|round| round.overhead_s.unwrap_or(0.0)),
        report.cost.peak_bytes_max.map(|bytes| bytes as f64 / 1e6),
    ]
}

fn csv_head() -> String {
    let metrics = METRICS.map(|metric| metric.column).join(",");
    format!("{RUN_COLUMNS},{metrics},{COST_COLUMNS}\n")
}

fn line(head: &[&str; 5], metrics: &Metrics, costs: &[Option<f64>]) -> String {
    let scores = values(metrics);
    let number = |value: &Option<f64>| value.map_or(String::new(), |value| format!("{value:.4}"));
    let none = [None; 5];
    let costs = if costs.is_empty() { &none[..] } else { costs };
    let numbers: Vec<_> = scores.iter().chain(costs).map(number).collect();
    format!("{},{}\n", head.join(","), numbers.join(","))
}

/// What a page begins with.
const HEAD: &str = "# Results\n\n";
/// Below it in a page stands what is replaced whenever it is written.
const LINE: &str = "<!-- `witan grid` writes what is below -->";
const RUN_COLUMNS: &str = "what,members,alpha,seed,samples";
const COST_COLUMNS: &str =
    "received_mb_a_round,sent_mb_a_round,last_update_s_a_round,commit_s_a_round,peak_mb";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Spec;

    #[test]
    fn what_somebody_wrote_above_the_line_of_a_page_stays_and_other_files_do_too() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("RESULTS.md");
        let spec = GridSpec { samples: 1, spec: Spec::default(), checkpoint: None };
        let results = Results { spec, federated: vec![], alone: vec![], central: vec![] };
        results.write_page(&file).unwrap();
        let page = std::fs::read_to_string(&file).unwrap();
        assert!(page.starts_with(&format!("{HEAD}{LINE}\n## The grid\n")), "{page}");
        assert!(folder.path().join("results/score.svg").exists());
        std::fs::write(&file, page.replace(HEAD, "# Mine\n")).unwrap();
        results.write_page(&file).unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), page.replace(HEAD, "# Mine\n"));
        std::fs::write(&file, "a letter").unwrap();
        let refused = results.write_page(&file).unwrap_err();
        assert!(refused.message.ends_with("is no page of a grid"), "{refused}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "a letter");
    }

    #[test]
    fn a_line_has_as_many_fields_as_the_head() {
        let fields = |text: &str| text.trim_end().split(',').count();
        let metrics = Metrics { vqa_accuracy: Some(0.5), ..Metrics::default() };
        let bare = line(&["base", "", "", "1", ""], &metrics, &[]);
        assert_eq!(fields(&bare), fields(&csv_head()));
        assert!(bare.starts_with("base,,,1,,0.5000,,"), "{bare}");
        let whole = line(&["federated", "2", "iid", "1", "64"], &metrics, &[Some(1.0); 5]);
        assert_eq!(fields(&whole), fields(&csv_head()));
    }
}
