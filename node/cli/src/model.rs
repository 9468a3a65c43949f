//! `witan model`: checkpoints, and the sizes of their adapters.

mod check;
mod say;
mod table;

use witan_home::Failure;

/// Check a checkpoint, have it continue texts, or compare the sizes of adapters.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    Check(check::Args),
    Say(say::Args),
    Table(table::Args),
}

/// Does what was asked.
pub(crate) fn run(args: Args) -> Result<(), Failure> {
    match args.what {
        What::Check(args) => check::run(&args),
        What::Say(args) => say::run(&args),
        What::Table(args) => table::run(&args),
    }
}

/// Bytes as people read them: `1.2 GB`.
fn bytes(count: u64) -> String {
    match count as f64 {
        few if few < 1e6 => format!("{:.1} kB", few / 1e3),
        some if some < 1e9 => format!("{:.1} MB", some / 1e6),
        many => format!("{:.2} GB", many / 1e9),
    }
}

/// A count as people read it: `1.2 M`.
fn count(numbers: u64) -> String {
    match numbers as f64 {
        few if few < 1e4 => format!("{few}"),
        some if some < 1e6 => format!("{:.1} k", some / 1e3),
        many if many < 1e9 => format!("{:.2} M", many / 1e6),
        most => format!("{:.3} G", most / 1e9),
    }
}
