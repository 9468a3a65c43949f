//! `witan run`.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use witan_home::settings::Compute;
use witan_home::{Failure, FailureKind, Home};
use witan_node::events::{NodeEvent, TimedEvent};
use witan_node::open::{self, Start};
use witan_protocol::Roster;
use witan_protocol::member::Round;

use super::pace::Pace;
use super::{block_on, output, stop_requested};

/// Run one node from its home folder until stopped.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The node's home folder, with key.pem, federation.toml and node.toml.
    #[arg(long, value_name = "FOLDER")]
    home: PathBuf,
    /// Compute on cpu or cuda [default: what node.toml says].
    #[arg(long, value_name = "DEVICE")]
    device: Option<Compute>,
    /// Also ask this bootstrap peer, besides those in federation.toml; may be repeated.
    #[arg(long, value_name = "ADDRESS")]
    bootstrap: Vec<String>,
    /// Print one JSON object per event.
    #[arg(long)]
    json: bool,
    /// Stop when standard input ends, so that the node does not outlive its parent.
    #[arg(long)]
    stop_on_eof: bool,
    /// Start before this key is a member's, and wait for the members to add it.
    #[arg(long)]
    join: bool,
    /// Exit with 0 even if the run lost members.
    #[arg(long)]
    allow_absent: bool,
}

/// Opens the home and runs the node.
pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let home = Home::existing(&args.home)?;
    let start = Start { join: args.join, device: args.device, bootstrap: args.bootstrap };
    block_on(async move {
        let (sender, events) = std::sync::mpsc::sync_channel::<TimedEvent>(EVENTS_MAX);
        let queue = move |event: &TimedEvent| {
            let _ = sender.send(event.clone());
        };
        let node = open::node(&home, start, Box::new(queue)).await?;
        if !args.json {
            // Who has another file has another number, and is not found through a bootstrap peer.
            let id = home.read_federation()?.id().to_string();
            output::print(|out| {
                writeln!(out, "federation {}, the same for all members", &id[..16])
            })?;
        }
        let roster = Arc::clone(node.participant.roster());
        let telling = std::thread::spawn(move || {
            let mut out = io::stdout();
            let mut began = None;
            // Whoever read this may go away; the node goes on.
            for event in events {
                let written = match args.json {
                    true => output::json_line(&mut out, &event),
                    false => for_people(&mut out, &roster, &event, &mut began),
                };
                if written.is_err() {
                    return;
                }
            }
        });
        let outcome = node.run(stop_requested(args.stop_on_eof)).await;
        let _ = telling.join();
        match outcome?.as_slice() {
            [_, ..] if args.allow_absent => Ok(()),
            lost => complete(lost),
        }
    })
}

/// A run that ended without some of its members is no success, unless that is accepted.
///
/// # Errors
/// Names whom it lost.
pub(crate) fn complete(lost: &[String]) -> Result<(), Failure> {
    if lost.is_empty() {
        return Ok(());
    }
    let message = format!("every round is committed, but without {} at the end", lost.join(", "));
    Err(Failure::new(FailureKind::Missing, message)
        .hint("start them again: they catch up; --allow-absent accepts a run that lost members"))
}

/// The first step heard of in a round's training, from which its pace is computed: before it,
/// pictures may have been encoded.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Began {
    round: Round,
    at_ms: u64,
    step: u64,
    examples: u64,
}

/// The roster is that of the start: a member who came later is named by its key.
fn for_people(
    out: &mut dyn Write,
    roster: &Roster,
    event: &TimedEvent,
    began: &mut Option<Began>,
) -> io::Result<()> {
    let Some(sentence) = event.kind.sentence(&|member| roster.name_of(member)) else {
        return Ok(());
    };
    let pace = match event.kind {
        NodeEvent::Training { step: 0, .. } => {
            *began = None;
            String::new()
        }
        NodeEvent::Training { round, step, steps, examples, .. } => {
            pace(began, Began { round, at_ms: event.at_ms, step, examples }, steps)
        }
        _ => String::new(),
    };
    writeln!(out, "{sentence}{pace}")
}

/// ", 93 samples/s, 12 s left" of the round's training; empty at the first step heard of.
fn pace(began: &mut Option<Began>, now: Began, steps: u64) -> String {
    let first = *began.get_or_insert(now);
    if first.round != now.round || first.step >= now.step {
        *began = Some(now);
        return String::new();
    }
    let pace = Pace {
        seconds: now.at_ms.saturating_sub(first.at_ms) as f64 / 1000.0,
        steps: now.step - first.step,
        examples: now.examples.saturating_sub(first.examples),
    };
    let left = pace.left_s(steps.saturating_sub(now.step)).unwrap_or_default();
    format!(", {:.0} samples/s, {left:.0} s left", pace.rate())
}

/// Events told but not yet written; past this the node waits for whoever reads its output.
const EVENTS_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_training_tells_its_pace_and_the_time_left_from_its_second_step_on() {
        let mut began = None;
        let mut told = |at_ms, round, step, examples| {
            pace(&mut began, Began { round: Round(round), at_ms, step, examples }, 10)
        };
        assert_eq!(told(60_000, 1, 1, 12), "");
        assert_eq!(told(60_500, 1, 2, 24), ", 24 samples/s, 4 s left");
        assert_eq!(told(64_000, 1, 10, 120), ", 27 samples/s, 0 s left");
        assert_eq!(told(90_000, 2, 1, 12), "", "another round");
        assert_eq!(told(91_000, 2, 2, 24), ", 12 samples/s, 8 s left");
        assert_eq!(told(99_000, 2, 1, 12), "", "the same round again");
    }
}
