//! One seed, one run: the plan it makes, the federation it happens to, and how that ended.

use std::panic::{self, AssertUnwindSafe};

use witan_protocol::federation::Document;

use crate::coverage::Coverage;
use crate::faults::Plan;
use crate::invariants::progress_within_ms;
use crate::world::{self, World};

/// What every run of a sweep has in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Members.
    pub members: usize,
    /// Rounds.
    pub rounds: u64,
    /// Prints every event.
    pub is_verbose: bool,
}

/// How one run ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// What went wrong in it, on purpose.
    pub coverage: Coverage,
    /// What is broken, if anything.
    pub failure: Option<String>,
    /// When it ended, in virtual milliseconds.
    pub ended_ms: u64,
    /// Events handled.
    pub events: u64,
    /// The longest an honest member took for a round after healing, in virtual milliseconds.
    pub slowest_ms: u64,
}

impl Outcome {
    /// How it ended, in one line; for a failure, with the command that replays it.
    pub fn verdict(&self, Settings { members, rounds, .. }: Settings) -> String {
        let (seed, ended_ms) = (self.seed, self.ended_ms);
        match &self.failure {
            None => format!("seed {seed}: all invariants hold, over at {ended_ms} ms"),
            Some(failure) => format!(
                "seed {seed} FAILED at {ended_ms} ms: {failure}\n  replay: cargo run --release -p \
                 witan-tests --bin sweep -- --members {members} --rounds {rounds} --seed {seed}"
            ),
        }
    }
}

/// Runs one seed to its end.
pub fn run(seed: u64, settings: Settings) -> Outcome {
    let mut world = world_of(seed, settings);
    let mut events = 0;
    let ended = panic::catch_unwind(AssertUnwindSafe(|| finish(&mut world, &mut events)));
    let failure = match ended {
        Ok(Ok(())) => None,
        Ok(Err(what)) => Some(what),
        Err(panicked) => {
            let words = panicked.downcast_ref::<String>().cloned();
            let words = words.or_else(|| panicked.downcast_ref::<&str>().map(|s| (*s).to_owned()));
            Some(format!("panicked: {}", words.unwrap_or_default()))
        }
    };
    Outcome {
        seed,
        failure,
        ended_ms: world.now.0,
        events,
        slowest_ms: world.watch.slowest_ms(),
        coverage: std::mem::take(&mut world.coverage),
    }
}

/// The federation of one run, before anything happened.
fn world_of(seed: u64, settings: Settings) -> World {
    let mut document = document(settings);
    let lying_max = (settings.members - 1) / 3;
    let plan = Plan::new(seed, settings.members, lying_max);
    if settings.is_verbose {
        println!("{plan:#?}");
    }
    document.council.late_rounds = plan.late_rounds;
    let mut world = World::planned(document, seed, &plan);
    world.is_verbose = settings.is_verbose;
    world
}

fn finish(world: &mut World, events: &mut u64) -> Result<(), String> {
    let rounds = world.federation.document().training.rounds;
    let until_ms = HEALED_BY_MS + (rounds + 1) * progress_within_ms(&world.federation);
    while !(world.finished() && world.is_whole()) {
        *events += 1;
        match world.step(until_ms) {
            Ok(true) => {}
            Ok(false) => return Err("the run came to no end".to_owned()),
            Err(violation) => return Err(violation.to_string()),
        }
    }
    Ok(())
}

/// A federation in a hurry: its deadline and its views are short, so that runs are too.
fn document(settings: Settings) -> Document {
    let mut document = world::document(settings.members, settings.rounds);
    document.council.round_deadline_s = 4;
    document.council.view_timeout_ms = 500;
    document
}

/// Every plan heals before.
const HEALED_BY_MS: u64 = 10_000;
