//! Adapters that are trained without a federation, and what their evaluation gave.

use std::fmt;

use serde::{Deserialize, Serialize};
use witan_data::metrics::Metrics;

use crate::tables::{self, DRAWINGS, VQA, percent};

/// One adapter to train.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Candidate {
    /// On all data, for the same number of samples as all members together.
    Centralized,
    /// On one member's part, for the same number of samples as that member, by roster number.
    Alone(usize),
}

impl Candidate {
    /// Whose part it is of, by roster number; none: all data.
    pub fn member(self) -> Option<usize> {
        match self {
            Self::Centralized => None,
            Self::Alone(index) => Some(index),
        }
    }

    /// Its name in a folder.
    pub fn name(self) -> String {
        match self {
            Self::Centralized => "central".to_owned(),
            Self::Alone(index) => format!("member-{index:02}"),
        }
    }
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Centralized => f.write_str("all data in one place"),
            Self::Alone(index) => write!(f, "member {index:02} alone"),
        }
    }
}

/// One trained adapter.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TrainedRow {
    /// Its name in the folder.
    pub name: String,
    /// The member whose part it is of, by roster number; `null`: all data.
    pub member: Option<usize>,
    /// Steps taken.
    pub steps: u64,
    /// Questions and captions drawn, counted each time.
    pub examples: u64,
    /// The mean of the losses of all steps.
    pub loss: f32,
    /// On held-out data.
    #[serde(flatten)]
    pub metrics: Metrics,
}

impl TrainedRow {
    /// What it is, in words.
    pub fn title(&self) -> String {
        self.member.map_or(Candidate::Centralized, Candidate::Alone).to_string()
    }

    /// What it is, with its metrics.
    pub fn sentence(&self) -> String {
        let share = |metric: tables::Metric| {
            let value = (metric.of)(&self.metrics);
            value.map_or(String::new(), |it| format!(" {} {}", metric.name, percent(Some(it))))
        };
        format!("{}:{}{}", self.title(), share(VQA), share(DRAWINGS))
    }
}

/// The federation's peers in the table.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Comparison {
    /// The best member that trains alone, on its own part, for the same number of its own samples.
    pub local_only_best: Metrics,
    /// Which member that is, by roster number.
    pub local_only_best_member: usize,
    /// One trainer with all data, for the same number of samples as all members together.
    pub centralized: Metrics,
}
