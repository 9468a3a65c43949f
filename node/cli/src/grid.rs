//! `witan grid`.

use std::path::PathBuf;

use witan_home::{Failure, shell};
use witan_lab::grid::{self, Cell, Common, Request, Views};
use witan_lab::solo::Told;
use witan_lab::testnet::View;
use witan_lab::testnet::prepare::Plan;
use witan_node::jobs::device::Compute;
use witan_node::jobs::foundation::Foundation;
use witan_node::jobs::shard::SCENES_PER_MEMBER;
use witan_protocol::federation::{Compression, Strategy};

use super::progress::Progress;
use super::screen::Screen;
use super::terms::{Learning, absolute, check_alpha};
use super::{block_on, output};

/// Run a testnet for each number of members, unevenness of the data and seed, all at the same number of samples.
///
/// Beside them stand the base, all data in one place, and every member alone. Tables, lines and plots of all that
/// is finished lie in --dir after every run. Ctrl-C stops; the same command goes on, and a command with other
/// members, alphas or seeds adds to the same folder.
#[derive(Debug, clap::Args)]
pub struct Args {
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
    /// Questions and captions that all members of a cell draw together, over all rounds, counted each time; as many
    /// as those of a testnet if left out.
    #[arg(long, value_name = "COUNT")]
    samples: Option<u64>,
    /// Rounds of every cell.
    #[arg(long, value_name = "COUNT", default_value_t = Plan::default().rounds)]
    rounds: u64,
    #[command(flatten)]
    learning: Learning,
    /// Train on a folder of VQA v2's own files instead of the embedded scenes.
    #[arg(long, value_name = "FOLDER")]
    vqa: Option<PathBuf>,
    /// Embedded scenes for all members together, the same for every cell.
    #[arg(
        long,
        value_name = "COUNT",
        conflicts_with = "vqa",
        default_value_t = Plan::default().nodes * SCENES_PER_MEMBER
    )]
    scenes: usize,
    /// How updates are combined; see `witan testnet --help`.
    #[arg(long, value_name = "NAME", default_value_t = Plan::default().strategy)]
    strategy: Strategy,
    /// How deltas are written; see `witan testnet --help`.
    #[arg(long, value_name = "NAME", default_value_t)]
    compression: Compression,
    /// Compute on cpu or cuda; docs/GPU.md says what cuda needs.
    #[arg(long, default_value_t)]
    device: Compute,
    /// The grid's folder; a cell under way needs as much room as its testnet.
    #[arg(long, value_name = "FOLDER", default_value = "witan-grid")]
    dir: PathBuf,
    /// Write the page of all results to this file too, its plots in a folder of its name beside it; what an earlier
    /// page says above its tables stays.
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// Print grid.csv on standard output, and neither progress nor tables.
    #[arg(long)]
    csv: bool,
}

/// Runs the grid and prints its tables.
pub fn run(args: &Args) -> Result<(), Failure> {
    let request = Request {
        common: common(args)?,
        cells: cells(args)?,
        dir: args.dir.clone(),
        page: args.write.clone(),
    };
    let results = block_on(grid::run(&request, &Shown { is_silent: args.csv }))?;
    output::print(|out| match args.csv {
        true => write!(out, "{}", results.csv()),
        false => {
            let dir = |name: &str| shell::word(&args.dir.join(name));
            writeln!(out, "{}", results.page(""))?;
            writeln!(
                out,
                "next: see {}, {} and the plots beside them",
                dir("grid.md"),
                dir("grid.csv")
            )
        }
    })
}

fn common(args: &Args) -> Result<Common, Failure> {
    if args.rounds == 0 {
        return Err(Failure::usage("--rounds 0: expected at least 1")
            .hint(format!("{} are the default", Plan::default().rounds)));
    }
    if args.scenes == 0 {
        return Err(Failure::usage("--scenes 0: expected at least one for each member")
            .hint("leave it out for the default"));
    }
    let usual = Plan::default();
    let of_a_testnet = || {
        let batch = u64::from(usual.batch_questions) + u64::from(usual.batch_captions);
        usual.nodes as u64 * usual.rounds * u64::from(usual.local_steps) * batch
    };
    let samples = args.samples.unwrap_or_else(of_a_testnet);
    let plan = args.learning.plan(Plan {
        rounds: args.rounds,
        scenes: args.vqa.is_none().then_some(args.scenes),
        vqa: args.vqa.as_deref().map(absolute).transpose()?,
        strategy: args.strategy,
        compression: args.compression,
        device: args.device,
        ..usual
    })?;
    let foundation = Foundation::open(plan.model.as_deref())?;
    foundation.takes(plan.strategy)?;
    foundation.has_layers(&plan.lora.of(foundation.lora()))?;
    let checkpoint = match foundation {
        Foundation::Embedded(_) => None,
        Foundation::Blip3o(_) => Some(digests(&foundation)?),
    };
    Ok(Common { samples, plan, checkpoint })
}

/// Shows what runs, or nothing if the output is for a program.
struct Shown {
    is_silent: bool,
}

impl Views for Shown {
    fn testnet(&self) -> Box<dyn View> {
        Box::new(if self.is_silent { Screen::silent() } else { Screen::for_people() })
    }

    fn training(&self) -> Box<dyn Fn(Told) + Send + Sync> {
        let progress = Progress::new(self.is_silent);
        Box::new(move |told| progress.tell(&told))
    }

    fn say(&self, sentence: &str) {
        self.testnet().say(sentence);
    }
}

/// What a checkpoint is, so that another in its folder is not taken for it.
fn digests(foundation: &Foundation) -> Result<(String, Option<String>), Failure> {
    let tower = foundation.tower()?.map(|tower| tower.digest.to_string());
    Ok((foundation.digest()?.to_string(), tower))
}

/// Every combination once, the seeds outermost: after the first of them the whole table has a figure.
fn cells(args: &Args) -> Result<Vec<Cell>, Failure> {
    if let Some(clients) = args.clients.iter().find(|clients| !(2..=64).contains(*clients)) {
        return Err(Failure::usage(format!("--clients {clients}: expected 2 to 64"))
            .hint("such as --clients 2,4,8,16"));
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
