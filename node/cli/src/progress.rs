//! What a person sees of trainings without a federation: how far, the loss, samples a second, the time left.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::Mutex;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use witan_lab::solo::Told;
use witan_lab::training::Step;
use witan_node::jobs::score::Marks;

use super::pace::Pace;

/// One bar for all trainings; a plain line now and then where there is no terminal.
pub struct Progress {
    bar: ProgressBar,
    is_plain: bool,
    state: Mutex<State>,
}

/// What the bar has seen of this run.
struct State {
    /// When each training that is under way took its last step.
    running: BTreeMap<String, Instant>,
    /// What all of them spent between their steps, added up: not on reading and scoring.
    seconds: f64,
    steps: u64,
    examples: u64,
    losses: Option<f32>,
}

impl Progress {
    /// Silent if the output is for a program.
    pub fn new(is_silent: bool) -> Self {
        let target = match is_silent {
            true => ProgressDrawTarget::hidden(),
            false => ProgressDrawTarget::stderr(),
        };
        let bar = ProgressBar::with_draw_target(None, target).with_style(style("{spinner} {msg}"));
        let is_plain = bar.is_hidden() && !is_silent;
        let state =
            State { running: BTreeMap::new(), seconds: 0.0, steps: 0, examples: 0, losses: None };
        Self { bar, is_plain, state: Mutex::new(state) }
    }

    /// Shows what is told.
    pub fn tell(&self, told: &Told) {
        match told {
            Told::Begins { trainings, steps, done } => {
                self.bar.set_style(style("{bar:30} {pos}/{len} {eta} left  {msg}"));
                self.bar.set_length(*steps);
                self.bar.set_position(*done);
                self.bar.reset_eta();
                match trainings {
                    0 => self.say("all is trained"),
                    _ if self.is_plain => {
                        line(&format!("{trainings} to train, {done} of {steps} steps done"));
                    }
                    _ => {}
                }
            }
            Told::LeftOut(what) => self.say(what),
            Told::Preparing { done, pictures } => {
                self.counted("targets of drawings", (*done, *pictures), "pictures");
            }
            Told::Scoring { done, questions } => {
                self.counted("scoring", (*done, *questions), "questions");
            }
            Told::Stepped { what, step } => self.stepped(&what.to_string(), *step),
            Told::Scored(row) => {
                let Marks { vqa_accuracy, drawing_accuracy, .. } = &row.scores;
                let share = |what: &str, share: &Option<f64>| {
                    share.map_or(String::new(), |share| format!(" {what} {:.1} %", 100.0 * share))
                };
                let scores = share("VQA", vqa_accuracy) + &share("drawings", drawing_accuracy);
                self.say(&format!("{}:{scores}", row.title()));
            }
        }
    }

    fn stepped(&self, what: &str, step: Step) {
        let loss = step.answer_loss.unwrap_or(0.0) + step.flow_loss.unwrap_or(0.0);
        let (mut state, now) = (self.state(), Instant::now());
        if let Some(before) = state.running.insert(what.to_owned(), now) {
            state.seconds += (now - before).as_secs_f64();
            state.steps += 1;
            state.examples += step.examples;
        }
        let at_once = state.running.len() as f64;
        if step.step == step.steps {
            state.running.remove(what);
        }
        let smooth = state.losses.map_or(loss, |smooth| smooth + (loss - smooth) * SMOOTHING);
        state.losses = Some(smooth);
        let State { seconds, steps, examples, .. } = *state;
        let pace = Pace { seconds: seconds / at_once, steps, examples };
        drop(state);
        self.bar.inc(1);
        let rate = match steps {
            0 => String::new(),
            _ => format!(", {:.0} samples/s", pace.rate()),
        };
        let said = format!("{what}: loss {smooth:.3}{rate}");
        let is_told = step.step.is_multiple_of(PLAIN_EVERY) || [1, step.steps].contains(&step.step);
        if self.is_plain && is_told {
            let left = self.bar.eta().as_secs();
            line(&format!("{said}, step {} of {}, {left} s left", step.step, step.steps));
        }
        self.bar.set_message(said);
    }

    fn counted(&self, what: &str, (done, of): (usize, usize), things: &str) {
        let sentence = format!("{what}: {done} of {of} {things}");
        match self.is_plain {
            false => self.bar.set_message(sentence),
            true if done == of || done.is_multiple_of(PLAIN_EVERY) => line(&sentence),
            true => {}
        }
    }

    fn say(&self, sentence: &str) {
        match self.is_plain {
            true => line(sentence),
            false => self.bar.println(sentence),
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no thread has panicked while it counted")
    }
}

impl Drop for Progress {
    /// Leaves the terminal to others.
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the template is well formed")
}

/// A plain line. Whoever read it may have gone; the work goes on.
fn line(sentence: &str) {
    let _ = writeln!(io::stderr(), "{sentence}");
}

/// Weight of the newest loss in the shown one.
const SMOOTHING: f32 = 0.05;
/// Steps between two lines where there is no terminal.
const PLAIN_EVERY: usize = 100;
