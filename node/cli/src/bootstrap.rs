//! `witan bootstrap`.

use std::path::PathBuf;

use witan_bootstrap::{BootstrapError, Settings};
use witan_home::{Failure, FailureKind};
use witan_node::open::no_network;

use super::{block_on, output, stop_requested};

/// Run a bootstrap peer, through which nodes find each other. It sees no update and has no vote.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The folder of its key; both are created if they do not exist.
    #[arg(long, value_name = "FOLDER")]
    home: PathBuf,
    /// Listen on this multiaddress; may be repeated.
    #[arg(long, value_name = "ADDRESS", default_value = "/ip4/0.0.0.0/tcp/4000")]
    listen: Vec<String>,
    /// Stop when standard input ends, so that it does not outlive its parent.
    #[arg(long)]
    stop_on_eof: bool,
}

/// Prints each address members can be given, one a line, and answers until stopped.
pub(crate) fn run(args: Args) -> Result<(), Failure> {
    std::fs::create_dir_all(&args.home).map_err(|error| {
        Failure::environment(format!("cannot make {}: {error}", args.home.display()))
    })?;
    let settings = Settings { listen: args.listen, key_file: args.home.join("key.pem") };
    block_on(async {
        let server = witan_bootstrap::start(&settings).await.map_err(failure)?;
        output::print(|out| {
            server.addresses().iter().try_for_each(|address| writeln!(out, "{address}"))
        })?;
        server.serve(stop_requested(args.stop_on_eof)).await;
        Ok(())
    })
}

fn failure(error: BootstrapError) -> Failure {
    let kind = match error {
        BootstrapError::Net(error) => return no_network(error),
        BootstrapError::Io { .. } => FailureKind::Environment,
        BootstrapError::Readable { .. } | BootstrapError::Malformed { .. } => FailureKind::Input,
    };
    Failure { kind, message: error.to_string(), hint: error.hint().map(str::to_owned) }
}
