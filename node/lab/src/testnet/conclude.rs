//! The end of a testnet: every ledger is checked, the judge is heard out, the report is written.

use witan_home::{Failure, Home};
use witan_node::jobs::check;
use witan_node::jobs::score::Undrawn;

use super::past::Past;
use super::report::{Checked, Evidence, TestnetReport};
use super::{Testnet, View, interrupted};
use crate::judge::Verdict;

impl Testnet {
    /// Checks every home, waits for the judge, writes the report.
    pub(super) async fn conclude(
        mut self,
        compare: bool,
        (federation_s, peak_bytes_max): (f64, Option<u64>),
        screen: &dyn View,
    ) -> Result<TestnetReport, Failure> {
        screen.say("checking every ledger");
        let past = Past::of(&self.folder, &self.federation, &self.ground);
        let mut checked = Checked { records: past.records, ..Checked::default() };
        for index in 0..self.folder.plan.nodes {
            if self.interrupt.is_told() {
                return Err(interrupted(&self.folder));
            }
            match check::home(&Home::at(self.folder.home(index))) {
                Ok(report) => drop(checked.heads.insert(index, report.head.to_string())),
                Err(failure) => checked.flaws.push(format!("node-{index:02}: {}", failure.message)),
            }
        }
        if compare {
            screen.say("training what the federation is compared with");
            self.judge.compare();
        }
        self.hear_out(compare, screen).await?;
        screen.end();
        let report = TestnetReport::new(Evidence {
            folder: &self.folder,
            watch: &self.watch,
            verdicts: &self.verdicts,
            strike: self.strike.as_ref(),
            losses: self.losses.as_ref(),
            checked,
            sizes: self.sizes,
            federation_s,
            peak_bytes_max,
        });
        report.write(&self.folder.dir)?;
        Ok(report)
    }

    /// Waits until the judge has said all it was asked for.
    async fn hear_out(&mut self, compare: bool, screen: &dyn View) -> Result<(), Failure> {
        let mut is_compared = !compare;
        while !(is_compared && self.has_marks(self.judged)) {
            tokio::select! {
                () = self.interrupt.told() => {
                    self.judge.stop();
                    return Err(interrupted(&self.folder));
                }
                verdict = self.judge.next() => {
                    let Some(verdict) = verdict else { return Ok(()) };
                    let verdict = verdict?;
                    is_compared |= matches!(verdict, Verdict::Compared(_));
                    self.on_verdict(verdict, screen);
                }
            }
        }
        Ok(())
    }

    /// Takes a verdict in, and says what a person would miss in the tables.
    pub(super) fn on_verdict(&mut self, verdict: Verdict, screen: &dyn View) {
        match &verdict {
            Verdict::Comparing { what, step: 1, steps } => {
                screen.say(&format!("  {what}: {steps} steps"));
            }
            Verdict::Preparing { done: 0, pictures } => {
                screen.say(&format!("  targets of drawings: {pictures} pictures"));
            }
            Verdict::Undrawn(Undrawn { count, of, first: Some(word) }) => screen
                .say(&format!("{count} of the {of} captions to be drawn are left out: {word}")),
            _ => {}
        }
        if !matches!(verdict, Verdict::Comparing { .. } | Verdict::Preparing { .. }) {
            self.verdicts.push(verdict);
        }
    }

    fn has_marks(&self, wanted: u64) -> bool {
        self.verdicts
            .iter()
            .any(|verdict| matches!(verdict, Verdict::Round { round, .. } if *round == wanted))
    }
}
