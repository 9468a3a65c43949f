//! `witan run`.

use std::path::PathBuf;

use witan_protocol::io::Notice;

use super::{block_on, stop_requested};
use crate::driver::unix_ms;
use crate::error::Failure;
use crate::events::{Happening, NodeEvent};
use crate::home::Home;
use crate::open;

/// Run one node from its home folder until stopped.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The node's home: key.pem, federation.toml, node.toml.
    #[arg(long)]
    home: PathBuf,
    /// Tell every event as one JSON object a line.
    #[arg(long)]
    json: bool,
    /// Stop when standard input ends.
    #[arg(long)]
    stop_on_eof: bool,
}

/// Opens the home and runs the node.
pub fn run(args: Args) -> Result<(), Failure> {
    let home = Home::existing(&args.home)?;
    let mut tell: Box<dyn FnMut(&NodeEvent) + Send> = match args.json {
        true => Box::new(|event| {
            println!("{}", serde_json::to_string(event).expect("an event is plain JSON"));
        }),
        false => Box::new(tell_people),
    };
    block_on(async move {
        let started = |name: &str, rounds| NodeEvent {
            at_ms: unix_ms(),
            what: Happening::Started { name: name.to_owned(), rounds },
        };
        let mut first = None;
        let (sender, events) = std::sync::mpsc::sync_channel::<NodeEvent>(EVENTS_MAX);
        let node = open::node(
            &home,
            Box::new(move |event| {
                let _ = sender.send(event.clone());
            }),
        )
        .await?;
        first.get_or_insert(started(&node.name, node.rounds));
        if let Some(event) = &first {
            tell(event);
        }
        let telling = std::thread::spawn(move || {
            for event in events {
                tell(&event);
            }
        });
        let outcome = node.driver.run(node.sources, stop_requested(args.stop_on_eof)).await;
        drop(node.socket);
        let _ = telling.join();
        outcome
    })
}

fn tell_people(event: &NodeEvent) {
    match &event.what {
        Happening::Started { name, rounds } => println!("{name} is up with {rounds} rounds"),
        Happening::Listening { address } => println!("listening on {address}"),
        Happening::Connected { member } => println!("connected to {}", member.short()),
        Happening::Disconnected { member } => println!("lost {}", member.short()),
        Happening::PeerRefused { peer, reason } => println!("turned {peer} away: {reason}"),
        Happening::Training { round, step, steps, loss } => {
            println!("round {round}: step {step}/{steps}, loss {loss:.3}");
        }
        Happening::Adopted { round, .. } => println!("round {round}: adopted"),
        Happening::Stopping => println!("stopping"),
        Happening::Protocol { notice } => tell_notice(notice),
        Happening::Trained { .. } | Happening::BlobStored { .. } => {}
    }
}

fn tell_notice(notice: &Notice) {
    match notice {
        Notice::Committed { round, view, included, votes, record, .. } => println!(
            "round {round}: committed in view {view}, {included} updates, {votes} votes, record {}",
            record.short()
        ),
        Notice::ViewFailed { round, view, aggregator } => {
            println!("round {round}: view {view} of {} closed nothing", aggregator.short());
        }
        Notice::Stalled { round, missing, needed } => {
            println!(
                "round {round}: stalled, {} members missing, {needed} votes needed",
                missing.len()
            );
        }
        Notice::Finished => {
            println!("every round is committed; still here for others, Ctrl-C stops")
        }
        _ => {}
    }
}

/// Events told but not yet written; past this the node waits for whoever reads its output.
const EVENTS_MAX: usize = 4096;
