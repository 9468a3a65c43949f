//! Runs the simulator over many seeds: `sweep --seeds 10000`. Prints the rate, what was covered,
//! and for every failure the line that replays it. Exits with 1 if there was one.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use witan_tests::coverage::{Coverage, Seen};
use witan_tests::sweep::{self, Outcome, Settings};

/// What the command line asks for.
struct Flags {
    settings: Settings,
    seeds: u64,
    from: u64,
    threads: usize,
    only: Option<u64>,
}

/// What came of all runs.
#[derive(Default)]
struct Totals {
    runs: u64,
    events: u64,
    virtual_ms: u64,
    slowest: (u64, u64),
    coverage: Coverage,
    failures: u64,
}

fn main() -> ExitCode {
    let flags = match flags(std::env::args().skip(1)) {
        Ok(flags) => flags,
        Err(hint) => {
            eprintln!("{hint}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    if let Some(seed) = flags.only {
        let outcome = sweep::run(seed, Settings { is_verbose: true, ..flags.settings });
        println!("{}", outcome.verdict(flags.settings));
        return if outcome.failure.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
    }
    let totals = run_all(&flags);
    if totals.failures > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn run_all(flags: &Flags) -> Totals {
    // A panicking participant is a failure like any other, reported with its seed.
    std::panic::set_hook(Box::new(|_| {}));
    let (began, next) = (Instant::now(), AtomicU64::new(flags.from));
    let end = flags.from + flags.seeds;
    let (done, outcomes) = mpsc::channel();
    let mut totals = Totals::default();
    thread::scope(|scope| {
        for _ in 0..flags.threads {
            let (done, next, settings) = (done.clone(), &next, flags.settings);
            scope.spawn(move || {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end || done.send(sweep::run(seed, settings)).is_err() {
                        break;
                    }
                }
            });
        }
        drop(done);
        let mut told = Instant::now();
        for outcome in outcomes {
            totals.add(&outcome);
            if outcome.failure.is_some() {
                println!("{}", outcome.verdict(flags.settings));
            }
            if told.elapsed() > TELL_EVERY {
                told = Instant::now();
                println!("{}", totals.progress(flags.seeds, began.elapsed()));
            }
        }
    });
    totals.print(flags, began.elapsed());
    totals
}

impl Totals {
    fn add(&mut self, outcome: &Outcome) {
        self.runs += 1;
        self.events += outcome.events;
        self.virtual_ms += outcome.ended_ms;
        self.slowest = self.slowest.max((outcome.slowest_ms, outcome.seed));
        self.coverage.add_run(&outcome.coverage);
        self.failures += u64::from(outcome.failure.is_some());
    }

    fn progress(&self, seeds: u64, took: Duration) -> String {
        let rate = self.runs as f64 / took.as_secs_f64();
        let (runs, failures) = (self.runs, self.failures);
        format!("{runs} of {seeds} seeds, {rate:.1} a second, {failures} failures")
    }

    fn print(&self, flags: &Flags, took: Duration) {
        let Settings { members, rounds, .. } = flags.settings;
        println!("\n{:<28} runs that saw it", "fault");
        let seen: BTreeMap<Seen, u64> = self.coverage.iter().collect();
        for (fault, runs) in seen {
            println!("{:<28} {runs}", fault.to_string());
        }
        println!("\n{members} members, {rounds} rounds: {}", self.progress(flags.seeds, took));
        println!(
            "{} events in {:.0} s; {:.0} hours of virtual time; slowest round after healing: \
             {:.1} s (seed {})",
            self.events,
            took.as_secs_f64(),
            self.virtual_ms as f64 / 3.6e6,
            self.slowest.0 as f64 / 1e3,
            self.slowest.1,
        );
    }
}

fn flags(mut args: impl Iterator<Item = String>) -> Result<Flags, String> {
    let settings = Settings { members: 16, rounds: 3, is_verbose: false };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let mut flags = Flags { settings, seeds: 1000, from: 0, threads, only: None };
    while let Some(flag) = args.next() {
        let value = args.next().ok_or_else(|| format!("{flag} needs a number"))?;
        let value: u64 = value.parse().map_err(|_| format!("{flag} {value} is not a number"))?;
        match flag.as_str() {
            "--members" if (4..=64).contains(&value) => flags.settings.members = value as usize,
            "--rounds" if (1..=64).contains(&value) => flags.settings.rounds = value,
            "--seeds" => flags.seeds = value,
            "--from" => flags.from = value,
            "--seed" => flags.only = Some(value),
            "--threads" if (1..=256).contains(&value) => flags.threads = value as usize,
            _ => return Err(format!("{flag} {value} is not understood")),
        }
    }
    Ok(flags)
}

const USAGE: &str =
    "usage: sweep [--seeds 1000] [--from 0] [--members 16] [--rounds 3] [--threads N]
       sweep --seed N [--members 16] [--rounds 3]     replays one seed and prints every event";

const TELL_EVERY: Duration = Duration::from_secs(10);
