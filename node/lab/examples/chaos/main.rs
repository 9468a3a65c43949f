//! The chaos test, on real processes: members are killed, frozen, silenced and cut off by a plan
//! that follows from a seed, and one lies whenever it is elected. In the end all ledgers are equal
//! and hold.
//!
//! `scripts/chaos.sh --nodes 16 --rounds 10 --seed 1` builds what it needs and runs it. Each member
//! reaches each other one through a proxy of its own ([`links`]); none takes turns with others at
//! the cores, for a frozen one would keep its turn.

mod links;
mod plan;
mod storm;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use comfy_table::{Table, presets};
use witan_home::settings::Settings;
use witan_home::{Failure, FailureKind, Home};
use witan_lab::spec::{Cohort, Spec};
use witan_lab::testnet::homes::Homes;
use witan_model::trainable;
use witan_node::jobs::{FederatedModel, check};
use witan_protocol::federation::Federation;
use witan_protocol::ledger::{Audited, Leaders, Standing};
use witan_protocol::member::{Round, View};

use links::Links;
use storm::{Hit, Storm};

/// Run a federation through kills, freezes, cut lines and a liar, and check what is left.
#[derive(Debug, clap::Parser)]
struct Args {
    /// How many nodes, from 7 on: one lies, one at least may be hit.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u64).range(7..=32))]
    nodes: u64,
    /// How many rounds.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: u64,
    /// Decides what is done to whom and when.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Optimiser steps each member takes in a round.
    #[arg(long, default_value_t = 2)]
    local_steps: u32,
    /// The folder of the homes, to be made; one in the system's folder for such things, removed
    /// after.
    #[arg(long)]
    dir: Option<PathBuf>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
    match runtime.block_on(run(&args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            failure.exit_code()
        }
    }
}

async fn run(args: &Args) -> Result<(), Failure> {
    let temporary = tempfile::tempdir().map_err(Failure::environment)?;
    let dir = args.dir.clone().unwrap_or_else(|| temporary.path().join("chaos"));
    let nodes = usize::try_from(args.nodes).map_err(Failure::usage)?;
    let links = Links::between(nodes).await.map_err(Failure::environment)?;
    let homes = prepare(&dir, args, &links)?;
    let liar = liar(&homes)?;
    let acts = plan::plan(liar, nodes, args.rounds, args.seed);
    println!(
        "seed {}: {} acts planned; node-{liar:02} lies from round {LIES_FROM}",
        args.seed,
        acts.len()
    );
    let mut storm = Storm::start(homes.clone(), links, (liar, acts))?;
    let patience = Duration::from_secs(60 * (1 + args.rounds));
    let outcome = storm.rage(patience).await;
    storm.end().await;
    outcome?;
    conclude(&homes, liar, storm)
}

/// The homes of a testnet in which each member knows its own way to each other one, and no
/// bootstrap.
fn prepare(dir: &Path, args: &Args, links: &Links) -> Result<Homes, Failure> {
    let cohort = Cohort {
        nodes: usize::try_from(args.nodes).map_err(Failure::usage)?,
        rounds: args.rounds,
        seed: args.seed,
        local_steps: args.local_steps,
        ..Cohort::default()
    };
    let spec = Spec { cohort, ..Spec::default() };
    let homes = Homes::create(dir, spec, &*trainable::open(None)?)?;
    for from in 0..homes.spec.cohort.nodes {
        let home = Home::at(homes.home(from));
        let mut document = home.read_federation()?.document().clone();
        for (to, member) in document.members.iter_mut().enumerate() {
            member.addresses = vec![links.address(from, to).to_owned()];
        }
        let federation = Federation::new(document).map_err(Failure::input)?;
        let mut settings = Settings::read(&home.settings_file())?;
        settings.listen = vec!["/ip4/127.0.0.1/tcp/0".into()];
        settings.turns = None;
        std::fs::write(home.federation_file(), federation.to_toml())
            .and_then(|()| std::fs::write(home.settings_file(), settings.to_toml()))
            .map_err(Failure::environment)?;
    }
    Ok(homes)
}

/// Who leads the round after the one from which the liar lies, unless a view fails before: a liar
/// that is never elected shows nothing.
fn liar(homes: &Homes) -> Result<usize, Failure> {
    let federation = Home::at(homes.home(0)).read_federation()?;
    let (roster, round) = (federation.founders(), Round(LIES_FROM + 1));
    let leader = Leaders::new(roster, &Standing::default(), round).of(View(0));
    Ok(roster.place_of(&leader).unwrap_or_default())
}

fn conclude(homes: &Homes, liar: usize, storm: Storm) -> Result<(), Failure> {
    let Storm { watch, hits, mut flaws, .. } = storm;
    let mut heads = Vec::new();
    for index in 0..homes.spec.cohort.nodes {
        match check::home(&Home::at(homes.home(index))) {
            Ok(report) => heads.push(report.head),
            Err(failure) => flaws.push(format!("node-{index:02}: {}", failure.message)),
        }
    }
    let verified = heads.len();
    heads.dedup();
    if heads.len() != 1 {
        flaws.push("the heads differ".to_owned());
    }
    let federation = Home::at(homes.home(0)).read_federation()?;
    let model = FederatedModel::new(trainable::open(None)?, &federation)?;
    let records = homes.history(&federation, &model).records;
    let header = ["round", "view", "aggregator", "present", "updates", "votes", "took"];
    let rows = records.iter().map(|audited| {
        let number = audited.record.proposal.round.0;
        let seen = &watch.rounds[&number];
        let took = seen.committed_ms.map_or(0, |(first, _)| first.saturating_sub(seen.began_ms));
        round_row(audited, took)
    });
    println!("\n{}", table(&header, rows));
    let header = ["round", "node", "what", "lasted", "up with the others after"];
    println!("{}", table(&header, hits.iter().map(hit_row)));
    for Audited { record, roster } in &records {
        let Some(refutation) = &record.proposal.refutation else { continue };
        let (round, objection) = (record.proposal.round, &refutation.objection);
        let (who, view) = (roster.name_of(&objection.against), objection.view);
        println!("round {round}: {who} proposed a wrong aggregate in view {view}:");
        println!("  {} instead of {}", objection.found, objection.expected);
        if objection.against != homes.members[liar] {
            flaws.push(format!("{who} did not lie"));
        }
    }
    println!("{}", recoveries(&hits));
    let nodes = homes.spec.cohort.nodes;
    println!(
        "{verified} of {nodes} ledgers verified, {} head(s), {} rounds",
        heads.len(),
        records.len()
    );
    match flaws.first() {
        None => Ok(()),
        Some(flaw) => Err(Failure::new(FailureKind::Incomplete, flaw)),
    }
}

fn round_row(audited: &Audited, took_ms: u64) -> Vec<String> {
    let (record, roster) = (&audited.record, &audited.roster);
    let attendance = record.attendance(roster);
    let of = |members: usize| format!("{members}/{}", attendance.expected.len());
    vec![
        record.proposal.round.to_string(),
        record.certificate.view.to_string(),
        roster.name_of(&record.proposal.aggregator),
        of(attendance.present.len()),
        of(attendance.contributed.len()),
        of(attendance.cosigned.len()),
        seconds(took_ms),
    ]
}

fn hit_row(hit: &Hit) -> Vec<String> {
    let healed_ms = hit.healed_ms.unwrap_or(hit.at_ms);
    let recovered = hit.recovered_ms.map(|at| seconds(at.saturating_sub(healed_ms)));
    vec![
        hit.round.to_string(),
        format!("node-{:02}", hit.node),
        hit.blow.to_string(),
        seconds(healed_ms - hit.at_ms),
        recovered.unwrap_or_else(|| "NEVER".to_owned()),
    ]
}

fn recoveries(hits: &[Hit]) -> String {
    let took = |hit: &Hit| Some(hit.recovered_ms?.saturating_sub(hit.healed_ms?));
    let mut all: Vec<u64> = hits.iter().filter_map(took).collect();
    all.sort_unstable();
    let Some(worst) = all.last() else { return "nobody was hit".to_owned() };
    let median = seconds(all[all.len() / 2]);
    format!("{} hits; recovery: median {median}, worst {}", all.len(), seconds(*worst))
}

fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header.to_vec()).add_rows(rows);
    table.trim_fmt() + "\n"
}

fn seconds(ms: u64) -> String {
    format!("{:.1} s", ms as f64 / 1000.0)
}

/// The `witan` built with this program.
fn witan() -> Result<PathBuf, Failure> {
    let here = std::env::current_exe().map_err(Failure::environment)?;
    let program = here.ancestors().nth(2).map(|folder| folder.join("witan"));
    program.filter(|path| path.is_file()).ok_or_else(|| {
        Failure::environment("no `witan` beside this program").hint("start it by scripts/chaos.sh")
    })
}

/// The round from which the liar lies.
const LIES_FROM: u64 = 3;
