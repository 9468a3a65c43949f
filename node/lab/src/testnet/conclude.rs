//! The end of a testnet: every ledger is checked, the evaluator is heard to its end, the report is
//! written.

use witan_home::{Failure, Home};
use witan_node::jobs::check;

use super::report::{Checked, Cost, TestnetReport};
use super::{Testnet, interrupted};
use crate::event::Event;

impl Testnet {
    /// Checks every home, waits for the evaluator, writes the report.
    pub(super) async fn conclude(
        mut self,
        compare: bool,
        cost: Cost,
    ) -> Result<TestnetReport, Failure> {
        self.note(&Event::Said("checking every ledger".into()));
        let records = self.homes.history(&self.federation, &self.model).records;
        let mut checked = Checked { records, ..Checked::default() };
        for index in 0..self.homes.spec.cohort.nodes {
            if self.interrupt.is_told() {
                return Err(interrupted(&self.homes));
            }
            match check::home(&Home::at(self.homes.home(index))) {
                Ok(report) => drop(checked.heads.insert(index, report.head.to_string())),
                Err(failure) => checked.flaws.push(format!("node-{index:02}: {}", failure.message)),
            }
        }
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
