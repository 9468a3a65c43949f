//! The `witan` program: one file per command. The only crate that prints.

mod ask;
mod bar;
mod bootstrap;
mod data;
mod draw;
mod eval;
mod export;
mod grid;
mod keys;
mod log;
mod member;
mod model;
mod output;
mod pace;
mod rounds;
mod run;
mod screen;
mod source;
mod status;
mod testnet;
mod train;
mod verify;

use std::future::Future;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use witan_home::Failure;
use witan_node::interrupt::Interrupt;

/// Burn's many short-lived tensors are the main load; glibc hands each back to the kernel.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Institutions train one multimodal model together, without a coordinator.
#[derive(Debug, Parser)]
#[command(name = "witan", version, arg_required_else_help = true, after_help = FIRST)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Testnet(testnet::Args),
    Train(train::Args),
    Grid(grid::Args),
    Run(run::Args),
    Bootstrap(bootstrap::Args),
    Status(status::Args),
    Rounds(rounds::Args),
    Log(log::Args),
    Verify(verify::Args),
    Keys(keys::Args),
    Member(member::Args),
    Ask(ask::Args),
    Data(data::Args),
    Draw(draw::Args),
    Eval(eval::Args),
    Export(export::Args),
    Model(model::Args),
}

/// Parses the arguments, runs the command, and turns an error into its exit code.
fn main() -> ExitCode {
    let cli = Cli::parse();
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(
            std::env::var("WITAN_LOG").unwrap_or_else(|_| "error,sled=off".to_owned()),
        ))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    let outcome = match cli.command {
        Command::Testnet(args) => testnet::run(args),
        Command::Train(args) => train::run(args),
        Command::Grid(args) => grid::run(args),
        Command::Run(args) => run::run(args),
        Command::Bootstrap(args) => bootstrap::run(args),
        Command::Status(args) => status::run(&args),
        Command::Rounds(args) => rounds::run(&args),
        Command::Log(args) => log::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Keys(args) => keys::run(&args),
        Command::Member(args) => member::run(&args),
        Command::Ask(args) => ask::run(&args),
        Command::Data(args) => data::run(args),
        Command::Draw(args) => draw::run(&args),
        Command::Eval(args) => eval::run(&args),
        Command::Export(args) => export::run(&args),
        Command::Model(args) => model::run(args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Nobody is left to tell if standard error is closed.
            let _ = writeln!(std::io::stderr(), "{failure}");
            failure.exit_code()
        }
    }
}

/// Runs `work` on a new runtime.
fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::environment(format!("cannot start the runtime: {error}")))?;
    let outcome = runtime.block_on(work);
    // A thread may still wait for standard input, and would keep the runtime from ending.
    runtime.shutdown_background();
    outcome
}

/// Resolves on the first interrupt or termination signal, or, if asked for, when standard input
/// ends.
async fn stop_requested(on_end_of_input: bool) {
    let mut interrupt = Interrupt::listen();
    let input_ended = async {
        if !on_end_of_input {
            std::future::pending::<()>().await;
        }
        // An error ends the input too.
        let _ = tokio::io::copy(&mut tokio::io::stdin(), &mut tokio::io::sink()).await;
    };
    tokio::select! {
        () = interrupt.told() => {}
        () = input_ended => {}
    }
}

const FIRST: &str = "\
Exit codes: 2 arguments, 3 input, 4 busy, 5 disk or network, 6 altered history, 7 incomplete,
            8 members lost, 130 interrupted.

First:  witan testnet                                   16 nodes on this machine, about 9 minutes
Then:   witan rounds --home witan-testnet/nodes/00      what they committed";

#[cfg(test)]
#[path = "../../home/tests/audit/filled.rs"]
mod filled;
