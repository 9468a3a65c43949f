//! `witan model table`.

use std::io::{self, Write};

use witan_adapter::LoraConfig;
use witan_home::Failure;
use witan_model::inspect::parts::{parts, traffic};
use witan_model::inspect::preset::Preset;

use super::{bytes, count};
use crate::output;

/// Compare the size of every preset's adapters with its model's, from the configurations alone.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Every part of the models, layer by layer, too.
    #[arg(long)]
    layers: bool,
}

/// Prints the tables.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    output::print(|out| {
        if args.layers {
            for preset in Preset::ALL {
                layers(out, preset)?;
            }
        }
        communication(out)
    })
}

/// One row an adapter.
fn communication(out: &mut dyn Write) -> io::Result<()> {
    let header = [
        "preset",
        "adapter",
        "rank",
        "numbers",
        "f32",
        "bf16",
        "int8",
        "model f32",
        "bf16",
        "less",
    ];
    let rows = Preset::ALL.into_iter().flat_map(|preset| {
        let tensors = preset.tensors();
        let row = move |(what, lora): (&str, LoraConfig)| {
            let parts = parts(&tensors, &lora);
            let [plain, half, byte] = traffic(&parts);
            let numbers: usize = parts.iter().map(|part| part.adapter_numbers).sum();
            let mut cells = vec![preset.name().to_owned(), what.to_owned(), lora.rank.to_string()];
            cells.push(count(numbers as u64));
            let sizes = [plain, half, byte].map(|it| it.adapter_bytes);
            let models = [plain, half].map(|it| it.model_bytes);
            cells.extend(sizes.into_iter().chain(models).map(|it| bytes(it as u64)));
            cells.push(format!("{:.0}x", plain.model_bytes as f64 / plain.adapter_bytes as f64));
            cells
        };
        preset.adapters().into_iter().map(row).collect::<Vec<_>>()
    });
    write!(out, "{}", output::table(&header, rows))?;
    writeln!(
        out,
        "\nless: the model over the adapter in the same number format, one direction of one member"
    )
}

/// One row a part.
fn layers(out: &mut dyn Write, preset: Preset) -> io::Result<()> {
    let adapters = preset.adapters();
    let (what, lora) = &adapters[adapters.len() - 1];
    writeln!(out, "{}: adapter of {what}, rank {}\n", preset.name(), lora.rank)?;
    let header =
        ["part", "layers", "numbers each", "bf16 each", "adapter each", "f32 each", "numbers"];
    let rows = parts(&preset.tensors(), lora).into_iter().map(|part| {
        let each = |numbers: usize| (numbers / part.layers) as u64;
        let (own, added) = (each(part.numbers), each(part.adapter_numbers));
        vec![
            part.name.clone(),
            part.layers.to_string(),
            count(own),
            bytes(own * 2),
            count(added),
            bytes(added * 4),
            count(part.numbers as u64),
        ]
    });
    writeln!(out, "{}", output::table(&header, rows))
}
