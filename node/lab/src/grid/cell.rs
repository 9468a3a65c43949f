//! The cells of a grid, what they have in common, and the runs they need.
//!
//! Equal samples: every cell, every member-alone row and the centralised row draw `samples`
//! questions and captions in all, summed over members and rounds and counted each time they are
//! drawn. Fewer members take more local steps of the same batch in the same number of rounds. Of
//! what the data lack, a batch of the plan has none already.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use witan_home::Failure;
use witan_protocol::digest::Digest;

use crate::folder::{Folder, Kind};
use crate::opened::Opened;
use crate::spec::TrainSpec;
use crate::spec::{Cohort, Spec};

/// What all cells have in common; kept in the folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GridSpec {
    /// Questions and captions drawn in a cell, by all members in all rounds.
    pub samples: u64,
    /// Rounds, batch, data and strategy; members, α, seed and steps are each cell's own.
    #[serde(rename = "plan")]
    pub spec: Spec,
    /// Digests of a checkpoint's base and tower; `None`: the embedded model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<(String, Option<String>)>,
}

/// One federation of the grid.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cell {
    /// Members.
    pub clients: usize,
    /// Dirichlet concentration; `None`: identically distributed.
    pub alpha: Option<f64>,
    /// Seed of data, partition, keys and training.
    pub seed: u64,
}

/// One thing to run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Run {
    /// All data in one place, with this seed: the same for all cells of it.
    Central(u64),
    /// The federation.
    Federated(Cell),
    /// Each of its members alone.
    Alone(Cell),
}

impl GridSpec {
    /// What these cells have in common; as many samples as the usual testnet has, if it is not
    /// said. Questions or captions of which the data have none that can be taught are taken out of
    /// a step: none are drawn then, and all cells' samples are counted from those of a step.
    pub fn of(samples: Option<u64>, mut spec: Spec, cells: &[Cell]) -> Result<Self, Failure> {
        let Spec { cohort, learning, .. } = Spec::default();
        let usual = cohort.nodes as u64 * cohort.rounds * u64::from(cohort.local_steps);
        let usual = usual * u64::from(learning.examples_of_a_step());
        // Whatever is too little is so for the largest federation.
        spec.cohort.nodes = cells.iter().map(|cell| cell.clients).max().unwrap_or(1);
        let base = Opened::of(&spec)?.base;
        let teachable = base.teachable(&spec.data(0))?;
        if !teachable.questions {
            spec.learning.batch_questions = 0;
        }
        if !teachable.captions {
            spec.learning.batch_captions = 0;
        }
        // Every cell has its own.
        spec.cohort = Cohort { rounds: spec.cohort.rounds, ..cohort };
        let checkpoint = match spec.learning.model {
            None => None,
            Some(_) => {
                let tower = base.tower_digest()?.map(|it| Digest(it).to_string());
                Some((Digest(base.digest()?).to_string(), tower))
            }
        };
        let grid = Self { samples: samples.unwrap_or(usual), spec, checkpoint };
        cells.iter().try_for_each(|cell| cell.check(&grid))?;
        Ok(grid)
    }

    /// Makes `dir` this grid's, or finds that it is.
    pub fn claim(&self, dir: &Path) -> Result<Folder, Failure> {
        if !Kind::Grid.is_in(dir) {
            return Folder::new(dir, Kind::Grid)?.claim(self);
        }
        let (folder, found) = Folder::open::<Self>(dir, Kind::Grid)?;
        if found != *self {
            let message = format!("{} holds a grid of other settings", dir.display());
            return Err(Failure::input(message)
                .hint("choose another folder with --dir, or see its grid.json"));
        }
        Ok(folder)
    }

    /// Samples of one step.
    pub fn batch(&self) -> u64 {
        u64::from(self.spec.learning.examples_of_a_step())
    }
}

impl Cell {
    /// Optimiser steps a member takes in a round.
    pub fn local_steps(&self, grid: &GridSpec) -> u64 {
        grid.samples / self.unit(grid)
    }

    /// Whether it can be run at exactly the grid's number of samples.
    pub fn check(&self, grid: &GridSpec) -> Result<(), Failure> {
        let (samples, unit) = (grid.samples, self.unit(grid));
        if samples > 0 && samples.is_multiple_of(unit) && samples / unit <= u64::from(u32::MAX) {
            return Ok(());
        }
        let near = (samples / unit).max(1) * unit;
        Err(Failure::usage(format!(
            "--samples {samples}: {} members cannot share them out evenly in {} rounds of steps of \
             {}",
            self.clients,
            grid.spec.cohort.rounds,
            grid.batch()
        ))
        .hint(format!("such as --samples {near}; it must be a multiple for every cell")))
    }

    /// The testnet it is.
    pub fn spec(&self, grid: &GridSpec) -> Spec {
        let cohort = Cohort {
            nodes: self.clients,
            alpha: self.alpha,
            seed: self.seed,
            local_steps: u32::try_from(self.local_steps(grid)).unwrap_or(u32::MAX),
            ..grid.spec.cohort.clone()
        };
        Spec { cohort, ..grid.spec.clone() }
    }

    /// "0.5" or "iid".
    pub fn alpha_name(&self) -> String {
        self.alpha.map_or("iid".to_owned(), |alpha| alpha.to_string())
    }

    /// Samples when every member takes one step in every round.
    fn unit(&self, grid: &GridSpec) -> u64 {
        grid.batch() * grid.spec.cohort.rounds * self.clients as u64
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { clients, seed, .. } = self;
        write!(f, "{clients} members, α {}, seed {seed}", self.alpha_name())
    }
}

impl Run {
    /// What is to be trained where nothing is federated.
    pub fn train_spec(&self, grid: &GridSpec) -> TrainSpec {
        let spec = match self {
            // One member has all data, and takes all steps.
            Self::Central(seed) => Cell { clients: 1, alpha: None, seed: *seed }.spec(grid),
            Self::Federated(cell) | Self::Alone(cell) => cell.spec(grid),
        };
        TrainSpec { spec, is_local_only: matches!(self, Self::Alone(_)), threads: 1 }
    }

    /// The file of its report in the grid's folder.
    pub fn result(&self) -> String {
        format!("results/{}.json", self.name())
    }

    /// Its own folder in there.
    pub fn work(&self) -> String {
        format!("work/{}", self.name())
    }

    /// The run whose report has this name.
    pub fn named(name: &str) -> Option<Self> {
        if let Some(seed) = name.strip_prefix("central-s") {
            return Some(Self::Central(seed.parse().ok()?));
        }
        let mut parts = name.splitn(4, '-');
        let kind = parts.next()?;
        let clients = parts.next()?.strip_prefix('k')?.parse().ok()?;
        let alpha = match parts.next()?.strip_prefix('a')? {
            "iid" => None,
            alpha => Some(alpha.parse().ok()?),
        };
        let seed = parts.next()?.strip_prefix('s')?.parse().ok()?;
        let cell = Cell { clients, alpha, seed };
        match kind {
            "federated" => Some(Self::Federated(cell)),
            "alone" => Some(Self::Alone(cell)),
            _ => None,
        }
    }

    fn name(&self) -> String {
        let of = |kind: &str, cell: &Cell| {
            format!("{kind}-k{}-a{}-s{}", cell.clients, cell.alpha_name(), cell.seed)
        };
        match self {
            Self::Central(seed) => format!("central-s{seed}"),
            Self::Federated(cell) => of("federated", cell),
            Self::Alone(cell) => of("alone", cell),
        }
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Central(seed) => write!(f, "all data in one place, seed {seed}"),
            Self::Federated(cell) => write!(f, "{cell}"),
            Self::Alone(cell) => write!(f, "{cell}, each alone"),
        }
    }
}

/// Every run of these cells, the federations first.
pub(super) fn runs(cells: &[Cell]) -> Vec<Run> {
    let seeds: BTreeSet<u64> = cells.iter().map(|cell| cell.seed).collect();
    let federated = cells.iter().copied().map(Run::Federated);
    let central = seeds.into_iter().map(Run::Central);
    federated.chain(central).chain(cells.iter().copied().map(Run::Alone)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Learning;

    fn grid() -> GridSpec {
        let cohort = Cohort { rounds: 5, ..Cohort::default() };
        let learning = Learning { batch_questions: 48, batch_captions: 16, ..Learning::default() };
        let spec = Spec { cohort, learning, ..Spec::default() };
        GridSpec { samples: 153_600, spec, checkpoint: None }
    }

    #[test]
    fn fewer_members_take_more_steps_and_every_run_draws_the_same() {
        let grid = grid();
        for (clients, steps) in [(2, 240), (4, 120), (8, 60), (16, 30)] {
            let cell = Cell { clients, alpha: Some(0.5), seed: 1 };
            assert_eq!(cell.local_steps(&grid), steps);
            assert_eq!(steps * clients as u64 * 5 * 64, grid.samples);
            assert!(cell.check(&grid).is_ok());
        }
        let Cohort { nodes, local_steps, seed, .. } = Run::Central(3).train_spec(&grid).spec.cohort;
        assert_eq!((nodes, local_steps, seed), (1, 480, 3));
        let refused = Cell { clients: 7, alpha: None, seed: 1 }.check(&grid);
        let refused = refused.unwrap_err();
        assert!(refused.message.contains("7 members cannot share"), "{refused}");
        assert!(refused.hint.unwrap().contains("--samples 152320"));
    }

    #[test]
    fn a_result_is_found_again_by_its_name() {
        let cells = [
            Cell { clients: 16, alpha: Some(0.1), seed: 2 },
            Cell { clients: 2, alpha: None, seed: 30 },
            Cell { clients: 4, alpha: Some(1e-7), seed: 2 },
        ];
        let runs = runs(&cells);
        assert_eq!(runs.len(), 3 + 2 + 3);
        for run in runs {
            assert_eq!(Run::named(&run.name()), Some(run));
        }
        for name in ["", "central-sx", "federated-k4-a0.5", "other-k4-a0.5-s1"] {
            assert_eq!(Run::named(name), None);
        }
    }

    #[test]
    fn a_folder_of_another_grid_or_of_something_else_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("grid");
        grid().claim(&dir).unwrap();
        grid().claim(&dir).unwrap();
        let other = GridSpec { samples: 307_200, ..grid() };
        assert!(other.claim(&dir).unwrap_err().message.contains("other settings"));
        assert!(other.claim(folder.path()).unwrap_err().message.contains("holds no grid"));
    }
}
