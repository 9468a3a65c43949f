//! The end of a testnet: every ledger is checked, the evaluator is heard to its end, the report is
//! written.

use witan_home::{Failure, Home};
use witan_node::jobs::check;

use super::report::{Checked, Cost, RoundRow, TestnetReport};
use super::{Testnet, interrupted};
use crate::event::Event;

impl Testnet {
    /// Checks the ledger of every home.
    pub(super) fn check_ledgers(&mut self) -> Result<Checked, Failure> {
        self.note(&Event::Said("checking every ledger".into()));
        let records = self.homes.history(&self.federation, &self.model).records;
        let row = |audited| RoundRow::of(&self.watch, audited);
        let mut checked = Checked {
            rounds: records.iter().filter_map(row).collect(),
            head: records.last().map(|last| last.record.digest().to_string()),
            ..Checked::default()
        };
        for index in 0..self.homes.spec.cohort.nodes {
            if self.interrupt.is_told() {
                return Err(interrupted(&self.homes));
            }
            match check::home(&Home::at(self.homes.home(index))) {
                Ok(report) => drop(checked.heads.insert(index, report.head.to_string())),
                Err(failure) => checked.flaws.push(format!("node-{index:02}: {}", failure.message)),
            }
        }
        Ok(checked)
    }

    /// Waits for the evaluator, and writes the report.
    pub(super) async fn conclude(
        mut self,
        compare: bool,
        checked: Checked,
        cost: Cost,
    ) -> Result<TestnetReport, Failure> {
        if compare {
            self.note(&Event::Said("training what the federation is compared with".into()));
            self.evaluator.compare();
        }
        while !(self.watch.metrics.contains_key(&self.evaluated)
            && (self.watch.comparison.is_some() || !compare))
        {
            tokio::select! {
                () = self.interrupt.told() => {
                    self.evaluator.stop();
                    return Err(interrupted(&self.homes));
                }
                Some(heard) = self.events.recv() => self.on_late_event(heard?),
            }
        }
        self.note(&Event::Over);
        let Self { homes, watch, fault, .. } = &self;
        let report = TestnetReport::new(&homes.spec, watch, fault.as_ref(), checked, cost);
        homes.folder.write_json("report.json", &report)?;
        Ok(report)
    }
}
