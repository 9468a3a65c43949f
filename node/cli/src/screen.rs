//! What a person sees of a running testnet: a line for each node and one for the council, redrawn in
//! place on a terminal; a line for each thing that matters where there is none.

use std::io::Write;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use witan_lab::judge::Verdict;
use witan_lab::tables::percent;
use witan_lab::testnet::View;
use witan_lab::testnet::prepare::Folder;
use witan_lab::testnet::watch::Watch;
use witan_node::events::{NodeEvent, TimedEvent};
use witan_protocol::io::Notice;

/// The screen; silent if the output is for a program.
pub struct Screen {
    bars: MultiProgress,
    council: ProgressBar,
    nodes: Vec<ProgressBar>,
    is_plain: bool,
}

impl Screen {
    /// For people: live on a terminal, plain lines elsewhere.
    pub fn for_people() -> Self {
        Self::new(
            ProgressDrawTarget::stderr(),
            !std::io::IsTerminal::is_terminal(&std::io::stderr()),
        )
    }

    /// For programs: nothing but the report.
    pub fn silent() -> Self {
        Self::new(ProgressDrawTarget::hidden(), false)
    }

    fn new(target: ProgressDrawTarget, is_plain: bool) -> Self {
        let bars = MultiProgress::with_draw_target(target);
        let council = bars.add(ProgressBar::new_spinner().with_style(words()));
        Self { bars, council, nodes: Vec::new(), is_plain }
    }
}

impl View for Screen {
    fn begin(&mut self, folder: &Folder) {
        self.nodes = (0..folder.plan.nodes)
            .map(|_| self.bars.add(ProgressBar::new_spinner().with_style(words())))
            .collect();
        if self.is_plain {
            line(&format!("{} nodes in {}", folder.plan.nodes, folder.dir.display()));
        }
    }

    fn tell(&self, index: usize, event: &TimedEvent, watch: &Watch) {
        match &event.kind {
            NodeEvent::SitsOut { round, reason } => {
                self.say(&format!("node-{index:02} sits out round {round}: {reason}"));
            }
            NodeEvent::Protocol { notice: Notice::Stalled { round, missing, votes, needed } }
                if watch.is_first_stall() =>
            {
                let missing: Vec<_> = missing.iter().map(|member| watch.name(member)).collect();
                let missing = missing.join(", ");
                self.say(&format!(
                    "round {round} stalled with {votes} of {needed} votes; missing: {missing}"
                ));
            }
            _ if !self.is_plain => {}
            NodeEvent::Protocol { notice: Notice::ViewFailed { round, view, aggregator } }
                if watch.is_first_failure(round.0, *view) =>
            {
                let name = watch.name(aggregator);
                line(&format!("round {round}: view {view} of {name} failed"));
            }
            NodeEvent::Protocol {
                notice: Notice::Committed { round, view, aggregator, included, .. },
            } if watch.is_first_commit(round.0) => {
                let name = watch.name(aggregator);
                line(&format!(
                    "round {round} committed in view {view} by {name}, {included} updates"
                ));
            }
            _ => {}
        }
    }

    fn say(&self, sentence: &str) {
        if self.is_plain {
            line(sentence);
        } else {
            let _ = self.bars.println(sentence);
        }
    }

    fn draw(&self, watch: &Watch, verdicts: &[Verdict], elapsed: Duration) {
        for (index, (bar, node)) in self.nodes.iter().zip(&watch.nodes).enumerate() {
            let state = match (node.alive, node.finished) {
                (false, _) => "not running".to_owned(),
                (true, true) => "finished".to_owned(),
                (true, false) if node.step.1 > 0 => bar_of(node.step.0, node.step.1),
                (true, false) => "starting".to_owned(),
            };
            let loss = node.loss.map_or(String::new(), |loss| format!("loss {loss:.2}"));
            let peers = node.peers.len();
            bar.set_message(format!(
                "node-{index:02}  round {:>2}  {state:<26} {loss:<10} peers {peers}",
                node.round
            ));
        }
        self.council.set_message(council(watch, verdicts, elapsed));
    }

    fn end(&self) {
        let _ = self.bars.clear();
    }
}

/// A plain line. Whoever read it may have gone; the run goes on.
fn line(sentence: &str) {
    let _ = writeln!(std::io::stderr(), "{sentence}");
}

fn council(watch: &Watch, verdicts: &[Verdict], elapsed: Duration) -> String {
    let number = watch.newest_round();
    let Some(round) = watch.rounds.get(&number) else {
        return format!("{:>4} s  the nodes are finding each other", elapsed.as_secs());
    };
    let (view, aggregator) =
        round.view.map_or((0, "-".to_owned()), |(view, who)| (view.0, watch.name(&who)));
    let committed = round.outcome.map_or("", |_| "committed");
    let last = verdicts.iter().rev().find_map(|verdict| match verdict {
        Verdict::Round { round, marks } => {
            let [vqa, drawings] = [marks.vqa_accuracy, marks.drawing_accuracy].map(percent);
            Some(format!("after round {round}: VQA {vqa}, drawings {drawings}"))
        }
        _ => None,
    });
    format!(
        "{:>4} s  round {number} view {view} aggregator {aggregator}  updates {}  votes {} {committed}  {}",
        elapsed.as_secs(),
        round.updates.len(),
        round.votes.len(),
        last.unwrap_or_default()
    )
}

fn bar_of(step: u64, steps: u64) -> String {
    let full = usize::try_from(step * BAR_WIDTH / steps.max(1)).unwrap_or(0);
    let bar: String = "█".repeat(full) + &"░".repeat(BAR_WIDTH as usize - full);
    format!("{bar} {step}/{steps}")
}

fn words() -> ProgressStyle {
    ProgressStyle::with_template("{msg}").expect("the template is a constant")
}

const BAR_WIDTH: u64 = 16;
