//! `witan grid`.

use std::path::PathBuf;

use witan_data::source::SCENES_PER_MEMBER;
use witan_home::{Failure, shell};
use witan_lab::grid::{self, Cell, Request};
use witan_lab::spec::{Cohort, Exchange, Learning, Spec, check_alpha, expect};

use super::{block_on, output, screen};

/// Run a testnet for each number of members, unevenness of the data and seed, all at the same
/// number of samples.
///
/// Beside them stand the base, all data in one place, and every member alone. Tables, lines and
/// plots of all that is finished lie in --dir after every run. Ctrl-C stops; the same command goes
/// on, and a command with other members, alphas or seeds adds to the same folder.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Numbers of members, 2 to 64 each.
    #[arg(long, value_name = "COUNTS", value_delimiter = ',', default_values_t = [2, 4, 8, 16])]
    clients: Vec<usize>,
    /// Dirichlet concentrations of the data over the answers, and iid for parts alike.
    #[arg(
        long,
        value_name = "NUMBERS",
        value_delimiter = ',',
        default_values = ["0.1", "0.5", "1", "iid"],
        allow_negative_numbers = true
    )]
    alpha: Vec<String>,
    /// Seeds of keys, data, partition and training.
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',', default_values_t = [1, 2, 3])]
    seeds: Vec<u64>,
    /// Questions and captions that all members of a cell draw together, over all rounds, counted
    /// each time [default: as many as those of a testnet].
    #[arg(long, value_name = "COUNT")]
    samples: Option<u64>,
    /// Rounds of every cell.
    #[arg(long, value_name = "COUNT", default_value_t = Cohort::default().rounds)]
    rounds: u64,
    #[command(flatten)]
    exchange: Exchange,
    #[command(flatten)]
    learning: Learning,
    /// The grid's folder; a cell under way needs as much room as its testnet.
    #[arg(long, value_name = "FOLDER", default_value = "witan-grid")]
    dir: PathBuf,
    /// Write the page of all results to this file too, its plots in a folder of its name beside it;
    /// what an earlier page says above its tables stays.
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// Print grid.csv on standard output, and neither progress nor tables.
    #[arg(long)]
    csv: bool,
}

/// Runs the grid and prints its tables.
pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let cells = cells(&args)?;
    let is_default = args.learning.vqa.is_none() && args.learning.captions.is_none();
    let scenes = args.learning.scenes.or(is_default.then_some(SCENES));
    let cohort = Cohort { rounds: args.rounds, ..Cohort::default() };
    let learning = Learning { scenes, ..args.learning };
    let request = Request {
        samples: args.samples,
        spec: Spec { cohort, exchange: args.exchange, learning }.checked()?,
        cells,
        dir: args.dir.clone(),
        page: args.write,
    };
    let results = block_on(grid::run(request, screen::listener(args.csv)))?;
    output::print(|out| match args.csv {
        true => write!(out, "{}", results.csv()),
        false => {
            let [page, csv] = ["grid.md", "grid.csv"].map(|it| shell::word(&args.dir.join(it)));
            writeln!(out, "{}", results.page(""))?;
            writeln!(out, "next: see {page}, {csv} and the plots beside them")
        }
    })
}

/// Every combination once, the seeds outermost: after the first of them the whole table has a
/// figure.
fn cells(args: &Args) -> Result<Vec<Cell>, Failure> {
    for clients in &args.clients {
        let hint = "such as --clients 2,4,8,16";
        expect((2..=64).contains(clients), ("clients", clients), "2 to 64", hint)?;
    }
    let alphas = args.alpha.iter().map(|alpha| alpha_of(alpha)).collect::<Result<Vec<_>, _>>()?;
    let mut cells: Vec<Cell> = Vec::new();
    for &seed in &args.seeds {
        for &alpha in &alphas {
            for &clients in &args.clients {
                let cell = Cell { clients, alpha, seed };
                if cells.contains(&cell) {
                    return Err(Failure::usage(format!("{cell} is asked for twice"))
                        .hint("name every number of --clients, --alpha and --seeds once"));
                }
                cells.push(cell);
            }
        }
    }
    Ok(cells)
}

fn alpha_of(text: &str) -> Result<Option<f64>, Failure> {
    if text == "iid" {
        return Ok(None);
    }
    let alpha = text.parse().map_err(|_| {
        Failure::usage(format!("--alpha {text}: expected a positive number or iid"))
            .hint("such as --alpha 0.1,0.5,1,iid")
    })?;
    check_alpha(alpha)?;
    Ok(Some(alpha))
}

/// Embedded scenes of every cell: those of a testnet of sixteen.
const SCENES: usize = 16 * SCENES_PER_MEMBER;
