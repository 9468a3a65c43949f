//! A member that lies, for tests: it runs the node of a home folder as `witan run --json
//! --stop-on-eof` does, but from a round on, whenever it is elected, it puts a wrong aggregate to
//! the vote, signed as it should be: `cargo run --release --example liar -- HOME ROUND`.

use std::process::ExitCode;

use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;
use witan_home::{Failure, Home};
use witan_net::Command;
use witan_net::limits::COMMANDS_MAX;
use witan_node::events::TimedEvent;
use witan_node::open::{self, Start};
use witan_protocol::digest::BlobRef;
use witan_protocol::member::Round;
use witan_protocol::wire::{Message, Verified, envelope};
use witan_protocol::{Identity, Roster};

/// What it takes to lie.
struct Liar {
    identity: Identity,
    roster: std::sync::Arc<Roster>,
    from: Round,
}

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let (home, from) = (args.next(), args.next().map_or(Ok(1), |round| round.parse()));
    let (Some(home), Ok(from)) = (home, from) else {
        eprintln!("usage: liar HOME [ROUND]");
        return ExitCode::from(2);
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
    let outcome = runtime.block_on(run(&home, Round(from)));
    // A thread may still wait for standard input.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            failure.exit_code()
        }
    }
}

async fn run(home: &str, from: Round) -> Result<(), Failure> {
    let home = Home::existing(home)?;
    let identity = home.read_key()?;
    let tell = |event: &TimedEvent| {
        println!("{}", serde_json::to_string(event).expect("an event is plain JSON"));
    };
    let mut node = open::node(&home, Start::default(), Box::new(tell)).await?;
    let roster = std::sync::Arc::clone(node.participant.roster());
    let liar = Liar { identity, roster, from };
    let (commands, mut asked) = mpsc::channel(COMMANDS_MAX);
    let onward = std::mem::replace(&mut node.net.commands, commands);
    tokio::spawn(async move {
        while let Some(command) = asked.recv().await {
            if onward.send(liar.rewrite(command)).await.is_err() {
                return;
            }
        }
    });
    let _ = node.run(end_of_input()).await?;
    Ok(())
}

impl Liar {
    fn rewrite(&self, command: Command) -> Command {
        match command {
            Command::Gossip(bytes) => Command::Gossip(self.told(bytes)),
            Command::Send { to, bytes } => Command::Send { to, bytes: self.told(bytes) },
            other => other,
        }
    }

    /// The same words, unless they are a proposal of its own: always with the same wrong aggregate,
    /// so that it signs nothing twice.
    fn told(&self, bytes: Vec<u8>) -> Vec<u8> {
        let me = self.identity.member();
        match envelope::open(&bytes, &self.roster) {
            Ok(Verified { message: Message::Proposal(mut motion), .. })
                if motion.proposal.aggregator == me && motion.proposal.round >= self.from =>
            {
                motion.proposal.result = BlobRef::of(&motion.proposal.result.digest.0);
                let federation = self.roster.federation();
                envelope::seal(&self.identity, federation, &Message::Proposal(motion))
            }
            _ => bytes,
        }
    }
}

async fn end_of_input() {
    let _ = tokio::io::stdin().read_to_end(&mut Vec::new()).await;
}
