//! `witan-bootstrap --key FILE ADDRESS...`: the bootstrap peer alone, for hosts that run no node.

use std::path::PathBuf;
use std::process::ExitCode;

use witan_bootstrap::{BootstrapError, Settings};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Some(settings) = parse(std::env::args().skip(1)) else {
        eprintln!("usage: witan-bootstrap --key FILE ADDRESS...");
        eprintln!("hint: an address looks like /ip4/0.0.0.0/tcp/4000");
        return ExitCode::from(2);
    };
    match run(&settings).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            if let Some(hint) = error.hint() {
                eprintln!("hint: {hint}");
            }
            ExitCode::FAILURE
        }
    }
}

/// Prints each address members can be given, one a line, `listening on <multiaddress with peer
/// id>`, and answers until stopped.
async fn run(settings: &Settings) -> Result<(), BootstrapError> {
    let server = witan_bootstrap::start(settings).await?;
    for address in server.addresses() {
        println!("listening on {address}");
    }
    server.serve(stopped()).await;
    Ok(())
}

/// Ends on the first interrupt or termination signal.
async fn stopped() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

fn parse(mut args: impl Iterator<Item = String>) -> Option<Settings> {
    let mut key_file = None;
    let mut listen = Vec::new();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--key" => key_file = Some(PathBuf::from(args.next()?)),
            address if address.starts_with('/') => listen.push(arg),
            _ => return None,
        }
    }
    let key_file = key_file?;
    (!listen.is_empty()).then_some(Settings { listen, key_file })
}
