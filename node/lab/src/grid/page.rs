//! The page of a grid: how it was made, what "equal samples" means, its tables and its plots.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use witan_data::metrics::Metrics;

use super::cell::{Cell, GridSpec};
use super::results::{Results, costs, drawn};
use crate::spec::{Learning, Spec, flags};
use crate::tables::{DRAWINGS, Mean, VQA};
use crate::train::TrainReport;

impl Results {
    /// The page; plots are named with `prefix` in front.
    pub fn page(&self, prefix: &str) -> String {
        let GridSpec { samples, spec: Spec { cohort, exchange, learning }, .. } = &self.spec;
        let (rounds, strategy, rate) = (cohort.rounds, exchange.strategy, learning.rate());
        let Learning { batch_questions, batch_captions, .. } = learning;
        let mut text = format!("## The grid\n\nMade by\n\n{}\n", self.commands());
        text += &format!(
            "Equal samples: every federation, all data in one place, and all members alone \
             together are given steps for exactly {samples} questions and captions, summed over \
             members and rounds and counted each time they are drawn (what the members' signed \
             updates say of it is below): {rounds} rounds, steps of {batch_questions} questions \
             and {batch_captions} captions. Fewer members take more steps a round: {}. AdamW's \
             learning rate is {rate} for one trainer, alone or with all data, and √K times that \
             for K members, over all rounds falling to a tenth; updates are combined by \
             {strategy}. Members keep a tenth of their pictures aside; all data in one place \
             includes these too. Held-out data are the same for all rows of a seed.\n\n",
            self.steps()
        );
        text += &self.scores();
        text += "\n\"kept\" is the share of the gain over the base that all data in one place \
                 bring (± is the sample standard deviation over seeds; without it there is one \
                 seed). \"alone\" is the mean over the members, each trained on its own part for \
                 as many samples as it takes in the federation; \"best\" is the best of them, by \
                 both tasks together, chosen on these very data.\n\n";
        text += &format!("![score against members]({prefix}score.svg)\n\n");
        text += "By type of answer, and by task of drawing:\n\n";
        text += &self.by_kind(|metrics| &metrics.vqa_accuracy_by_answer_type, None);
        text += &self.by_kind(
            |metrics| &metrics.drawing_accuracy_by_task,
            Some(|report| &report.ceiling.by_task),
        );
        text += &self.costs_table();
        text += "\nSamples: what the updates in the aggregates say they have drawn, by their \
                 signatures; where it is less than above, updates missed their round, or a member \
                 had no question or no caption that can be taught, and the cell is no equal. \
                 Received and sent: megabytes of the busiest member. To the last update: from the \
                 beginning of the round, including the time in which members of one machine wait \
                 for their turns at its cores. To the commit: from the last update to the first \
                 commit, including every member's own computation of the aggregate. Peak: the most \
                 memory a node's process held.\n\n";
        text += &format!("![score against bytes]({prefix}bytes.svg)\n\n");
        text += &format!("![time of a round]({prefix}time.svg)\n");
        text
    }

    /// The commands that make it: one for all α whose members have the same seeds.
    fn commands(&self) -> String {
        let mut commands: Vec<(BTreeSet<usize>, BTreeSet<u64>, Vec<String>)> = Vec::new();
        for alpha in self.alphas() {
            let mut rows: BTreeMap<BTreeSet<u64>, BTreeSet<usize>> = BTreeMap::new();
            for column in self.columns().into_iter().filter(|(_, of)| *of == alpha) {
                let seeds = self.of(column).map(|(cell, _)| cell.seed).collect();
                rows.entry(seeds).or_default().insert(column.0);
            }
            let name = Cell { clients: 0, alpha, seed: 0 }.alpha_name();
            for (seeds, clients) in rows {
                match commands.iter_mut().find(|it| it.0 == clients && it.1 == seeds) {
                    Some((_, _, alphas)) => alphas.push(name.clone()),
                    None => commands.push((clients, seeds, vec![name.clone()])),
                }
            }
        }
        let flags = self.flags();
        let command = |(clients, seeds, alphas): &(BTreeSet<usize>, BTreeSet<u64>, Vec<String>)| {
            let (clients, alphas, seeds) = (join(clients), alphas.join(","), join(seeds));
            format!("    witan grid --clients {clients} --alpha {alphas} --seeds {seeds}{flags}\n")
        };
        commands.iter().map(command).collect()
    }

    /// What was asked for beside the cells.
    fn flags(&self) -> String {
        let GridSpec { samples, spec, .. } = &self.spec;
        let Spec { cohort, exchange, learning } = spec;
        let said = ["batch_questions", "batch_captions"];
        let (exchange, learning) = (flags(exchange, &[]), flags(learning, &said));
        format!(" --samples {samples} --rounds {}{exchange}{learning}", cohort.rounds)
    }

    fn steps(&self) -> String {
        let clients: BTreeSet<usize> = self.columns().iter().map(|(clients, _)| *clients).collect();
        let of = |clients: &usize| {
            let cell = Cell { clients: *clients, alpha: None, seed: 0 };
            format!("{clients} members {} each", cell.local_steps(&self.spec))
        };
        clients.iter().map(of).collect::<Vec<_>>().join(", ")
    }

    fn scores(&self) -> String {
        let mut text = "| | seeds | VQA | kept | alone | best | drawings | kept | alone | best |\n\
                        |---|---|---|---|---|---|---|---|---|---|\n"
            .to_owned();
        for (name, metrics) in self.ends() {
            let [vqa, drawn] = TASKS.map(|task| percent(metrics.iter().filter_map(|it| task(it))));
            let _ = writeln!(text, "| {name} | {} | {vqa} | | | | {drawn} | | | |", metrics.len());
        }
        for column in self.columns() {
            let seeds = self.of(column).count();
            let _ = write!(text, "| {} | {seeds} |", name_of(column));
            for task in TASKS {
                let metrics =
                    self.of(column).filter_map(|(_, it)| task(it.comparison.federated.as_ref()?));
                let kept = self.of(column).filter_map(|it| self.kept(it, task));
                let alone = || self.of(column).filter_map(|(cell, _)| self.alone_of(cell));
                let mean = alone().filter_map(|it| it.mean(task));
                let best = alone().filter_map(|it| task(&it.best()?.metrics));
                let cells = [percent(metrics), percent(kept), percent(mean), percent(best)];
                let _ = write!(text, " {} |", cells.join(" | "));
            }
            text += "\n";
        }
        text
    }

    /// The metrics of what stands beside every federation, by seed.
    fn ends(&self) -> [(&'static str, Vec<&Metrics>); 2] {
        let base = self.central.iter().map(|(_, it)| &it.base);
        let central = self.central.iter().filter_map(|(_, it)| Some(&it.trained.first()?.metrics));
        [("base", base.collect()), ("all data in one place", central.collect())]
    }

    /// Shares right by kind, if there are any; below them, where there is one, what the real
    /// pictures score.
    fn by_kind(
        &self,
        of: fn(&Metrics) -> &Shares,
        ceiling: Option<fn(&TrainReport) -> &Shares>,
    ) -> String {
        let mut rows: Vec<(String, Vec<&Shares>)> = Vec::new();
        for (name, metrics) in self.ends() {
            rows.push((name.to_owned(), metrics.into_iter().map(of).collect()));
        }
        for column in self.columns() {
            let metrics = self.of(column).filter_map(|(_, it)| it.comparison.federated.as_ref());
            rows.push((name_of(column), metrics.map(of).collect()));
        }
        if let Some(ceiling) = ceiling {
            let shares = self.central.iter().map(|(_, report)| ceiling(report));
            rows.push(("the real pictures".to_owned(), shares.collect()));
        }
        let kinds: BTreeSet<&String> =
            rows.iter().flat_map(|(_, seeds)| seeds).flat_map(|shares| shares.keys()).collect();
        if kinds.is_empty() {
            return String::new();
        }
        let heads: String = kinds.iter().map(|kind| format!(" {kind} |")).collect();
        let mut text = format!("| |{heads}\n|---|{}\n", "---|".repeat(kinds.len()));
        for (name, seeds) in rows {
            let share =
                |kind: &String| percent(seeds.iter().filter_map(|it| it.get(kind).copied()));
            let shares: Vec<_> = kinds.iter().map(|kind| share(kind)).collect();
            let _ = writeln!(text, "| {name} | {} |", shares.join(" | "));
        }
        text + "\n"
    }

    fn costs_table(&self) -> String {
        let mut text =
            "| a round | samples | received | sent | to the last update | to the commit | peak |\n\
                        |---|---|---|---|---|---|---|\n"
                .to_owned();
        for column in self.columns() {
            let samples: BTreeSet<u64> = self.of(column).map(|(_, report)| drawn(report)).collect();
            let units = [("MB", 1), ("MB", 1), ("s", 1), ("s", 2), ("MB", 0)];
            let costs = units.iter().enumerate().map(|(index, (unit, digits))| {
                let values = self.of(column).filter_map(|(_, report)| costs(report)[index]);
                mean(values, *digits, unit)
            });
            let costs = costs.collect::<Vec<_>>().join(" | ");
            let samples = join(&samples);
            let _ = writeln!(text, "| {} | {samples} | {costs} |", name_of(column));
        }
        text
    }
}

/// Shares of right answers or drawings, by kind.
type Shares = BTreeMap<String, f64>;

fn name_of((clients, alpha): (usize, Option<f64>)) -> String {
    format!("{clients} members, α {}", Cell { clients, alpha, seed: 0 }.alpha_name())
}

/// The two tasks' overall scores.
pub(super) const TASKS: [fn(&Metrics) -> Option<f64>; 2] = [VQA.of, DRAWINGS.of];

fn percent(values: impl IntoIterator<Item = f64>) -> String {
    mean(values.into_iter().map(|value| 100.0 * value), 1, "%")
}

fn mean(values: impl IntoIterator<Item = f64>, digits: usize, unit: &str) -> String {
    match Mean::over(values) {
        None => "–".to_owned(),
        Some(Mean { value, deviation: None, .. }) => format!("{value:.digits$} {unit}"),
        Some(Mean { value, deviation: Some(deviation), .. }) => {
            format!("{value:.digits$} ± {deviation:.digits$} {unit}")
        }
    }
}

fn join<T: ToString>(items: &BTreeSet<T>) -> String {
    items.iter().map(T::to_string).collect::<Vec<_>>().join(",")
}
