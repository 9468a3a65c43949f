//! What a person sees of an experiment: a fold over its events, redrawn in place on a terminal; a
//! line for each thing that matters where there is none.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use witan_lab::candidate::Candidate;
use witan_lab::event::{Event, Listener, Work};
use witan_lab::tables::{DRAWINGS, VQA, percent};
use witan_lab::testnet::watch::{NodeView, Watch};
use witan_lab::trainer::Step;
use witan_node::events::{NodeEvent, TimedEvent};
use witan_protocol::io::Notice;

use super::output::span;
use super::pace::Pace;

/// Shows what is heard on standard error; nothing if the output is for a program.
pub(crate) fn listener(is_silent: bool) -> Listener {
    let target = match is_silent {
        true => ProgressDrawTarget::hidden(),
        false => ProgressDrawTarget::stderr(),
    };
    let bars = MultiProgress::with_draw_target(target);
    let main = bars.add(ProgressBar::new_spinner().with_style(style("{spinner} {msg}")));
    let is_plain = !is_silent && !std::io::stderr().is_terminal();
    let (watch, trainings) = (Watch::default(), Trainings::default());
    let screen = Mutex::new(Screen { bars, main, nodes: Vec::new(), is_plain, watch, trainings });
    Arc::new(move |event| {
        screen.lock().expect("no thread has panicked while it drew").show(event);
    })
}

struct Screen {
    bars: MultiProgress,
    /// The council's line, or the trainings' bar.
    main: ProgressBar,
    nodes: Vec<ProgressBar>,
    is_plain: bool,
    watch: Watch,
    trainings: Trainings,
}

/// What is seen of trainings in this run.
#[derive(Default)]
struct Trainings {
    /// When each that is under way took its last step.
    running: BTreeMap<String, Instant>,
    /// What all of them spent between their steps, added up: not on reading and evaluating.
    seconds: f64,
    steps: u64,
    examples: u64,
    /// The smoothed loss.
    loss: Option<f32>,
}

impl Screen {
    fn show(&mut self, event: &Event) {
        self.watch.observe(event);
        match event {
            Event::Said(sentence) => self.say(sentence),
            Event::Run { run, number, of, left } => {
                let left = left.map(|left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX));
                let left =
                    left.map_or(String::new(), |left| format!(", about {} left", span(left)));
                self.say(&format!("run {number} of {of}: {run}{left}"));
            }
            Event::Begins { dir, members } => {
                self.watch = Watch::new(members.clone());
                self.begin("{elapsed:>4}  {msg}");
                let line = || self.bars.add(ProgressBar::new_spinner().with_style(style("{msg}")));
                self.nodes = members.iter().map(|_| line()).collect();
                self.main.enable_steady_tick(TICK);
                self.line(&format!("{} nodes in {}", members.len(), dir.display()));
            }
            Event::Node { node, event } => {
                self.node_says(*node, event);
                self.draw(*node);
            }
            Event::Started { node } | Event::Ended { node, .. } => self.draw(*node),
            Event::Trainings { count, steps, done } => {
                self.begin("{bar:30} {pos}/{len} {eta} left  {msg}");
                self.main.set_length(*steps);
                self.main.set_position(*done);
                self.main.reset_eta();
                match count {
                    0 => self.say("all is trained"),
                    _ => self.line(&format!("{count} to train, {done} of {steps} steps done")),
                }
            }
            Event::Counted { work, done, of } => self.count(*work, *done, *of),
            Event::Step { candidate, step } => self.step(*candidate, *step),
            Event::Trained(row) => self.say(&row.sentence()),
            Event::Skipped(skipped) => {
                let word = skipped.first.as_ref().map(ToString::to_string).unwrap_or_default();
                let (count, of) = (skipped.count, skipped.of);
                self.say(&format!("{count} of the {of} captions to be drawn are left out: {word}"));
            }
            Event::Over => self.begin("{spinner} {msg}"),
            Event::Recalled(_)
            | Event::Evaluated { .. }
            | Event::Ceiling { .. }
            | Event::Compared(_) => {}
        }
    }

    /// Another stage, on an empty screen.
    fn begin(&mut self, template: &str) {
        self.nodes.drain(..).for_each(|node| node.finish_and_clear());
        self.main.finish_and_clear();
        self.trainings = Trainings::default();
        self.main = self.bars.add(ProgressBar::new_spinner().with_style(style(template)));
    }

    /// Says what matters of an event that has just been observed.
    fn node_says(&self, node: usize, event: &TimedEvent) {
        let watch = &self.watch;
        match &event.kind {
            NodeEvent::SitsOut { round, reason } => {
                self.say(&format!("node-{node:02} sits out round {round}: {reason}"));
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
            NodeEvent::Protocol { notice: Notice::ViewFailed { round, view, aggregator } }
                if watch.is_first_failure(round.0, *view) =>
            {
                let name = watch.name(aggregator);
                self.line(&format!("round {round}: view {view} of {name} failed"));
            }
            NodeEvent::Protocol {
                notice: Notice::Committed { round, view, aggregator, included, .. },
            } if watch.is_first_commit(round.0) => {
                let name = watch.name(aggregator);
                self.line(&format!(
                    "round {round} committed in view {view} by {name}, {included} updates"
                ));
            }
            _ => {}
        }
    }

    fn draw(&self, index: usize) {
        if let (Some(bar), Some(node)) = (self.nodes.get(index), self.watch.nodes.get(index)) {
            bar.set_message(format!("node-{index:02}  {}", node_line(node)));
            self.main.set_message(council_line(&self.watch));
        }
    }

    fn step(&mut self, candidate: Candidate, step: Step) {
        let (what, loss, rate) = self.trainings.observe(candidate, step);
        self.main.inc(1);
        let rate = rate.map_or(String::new(), |rate| format!(", {rate:.0} samples/s"));
        let said = format!("{what}: loss {loss:.3}{rate}");
        if step.step.is_multiple_of(PLAIN_EVERY) || [1, step.steps].contains(&step.step) {
            let left = self.main.eta().as_secs();
            self.line(&format!("{said}, step {} of {}, {left} s left", step.step, step.steps));
        }
        self.main.set_message(said);
    }

    fn count(&self, work: Work, done: usize, of: usize) {
        let (what, things) = match work {
            Work::Targets => ("targets of drawings", "pictures"),
            Work::Answers => ("evaluating", "questions"),
        };
        let sentence = format!("{what}: {done} of {of} {things}");
        if done == of || done.is_multiple_of(PLAIN_EVERY) {
            self.line(&sentence);
        }
        self.main.set_message(sentence);
    }

    /// A sentence above the lines that are redrawn.
    fn say(&self, sentence: &str) {
        match self.is_plain {
            true => self.line(sentence),
            false => drop(self.bars.println(sentence)),
        }
    }

    /// A line where there is no terminal. Whoever read it may have gone; the work goes on.
    fn line(&self, sentence: &str) {
        if self.is_plain {
            let _ = writeln!(std::io::stderr(), "{sentence}");
        }
    }
}

impl Trainings {
    /// What was trained, its smoothed loss, and samples a second once there is something to count.
    fn observe(&mut self, candidate: Candidate, step: Step) -> (String, f32, Option<f64>) {
        let (what, now) = (candidate.to_string(), Instant::now());
        if let Some(before) = self.running.insert(what.clone(), now) {
            self.seconds += (now - before).as_secs_f64();
            self.steps += 1;
            self.examples += step.examples;
        }
        let at_once = self.running.len() as f64;
        if step.step == step.steps {
            self.running.remove(&what);
        }
        let loss = step.answer_loss.unwrap_or(0.0) + step.flow_loss.unwrap_or(0.0);
        let smooth = self.loss.map_or(loss, |smooth| smooth + (loss - smooth) * SMOOTHING);
        self.loss = Some(smooth);
        let Self { seconds, steps, examples, .. } = *self;
        let pace = Pace { seconds: seconds / at_once, steps, examples };
        (what, smooth, (steps > 0).then(|| pace.rate()))
    }
}

fn node_line(node: &NodeView) -> String {
    let state = match (node.alive, node.finished) {
        (false, _) => "not running".to_owned(),
        (true, true) => "finished".to_owned(),
        (true, false) if node.step.1 > 0 => bar_of(node.step.0, node.step.1),
        (true, false) => "starting".to_owned(),
    };
    let loss = node.loss.map_or(String::new(), |loss| format!("loss {loss:.2}"));
    format!("round {:>2}  {state:<26} {loss:<10} peers {}", node.round, node.peers.len())
}

fn council_line(watch: &Watch) -> String {
    let number = watch.newest_round();
    let Some(round) = watch.rounds.get(&number) else {
        return "the nodes are finding each other".to_owned();
    };
    let (view, aggregator) =
        round.view.map_or((0, "-".to_owned()), |(view, who)| (view.0, watch.name(&who)));
    let last = watch.metrics.last_key_value().map_or(String::new(), |(round, metrics)| {
        let [vqa, drawings] = [VQA, DRAWINGS].map(|metric| percent((metric.of)(metrics)));
        format!("after round {round}: VQA {vqa}, drawings {drawings}")
    });
    format!(
        "round {number} view {view} aggregator {aggregator}  updates {}  votes {} {}  {last}",
        round.updates.len(),
        round.votes.len(),
        round.outcome.map_or("", |_| "committed"),
    )
}

fn bar_of(step: u64, steps: u64) -> String {
    let full = usize::try_from(step * BAR_WIDTH / steps.max(1)).unwrap_or(0);
    let bar: String = "█".repeat(full) + &"░".repeat(BAR_WIDTH as usize - full);
    format!("{bar} {step}/{steps}")
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the template is well formed")
}

const BAR_WIDTH: u64 = 16;
/// Between two redraws of the time.
const TICK: Duration = Duration::from_millis(200);
/// Weight of the newest loss in the shown one.
const SMOOTHING: f32 = 0.05;
/// Steps between two lines where there is no terminal.
const PLAIN_EVERY: usize = 100;
