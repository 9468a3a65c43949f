//! `witan keys`: make a member's key, or show the public half for the federation file.

use std::path::PathBuf;

use witan_home::{Failure, Home};
use witan_protocol::identity;

use super::output;

/// Show a member's public key; make the key first if there is none.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The node's home folder; created if it does not exist.
    #[arg(long, value_name = "FOLDER")]
    pub home: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
    /// Print only the public key, as PEM for `openssl` and others.
    #[arg(long, conflicts_with = "json")]
    pub pem: bool,
}

/// Prints the public key.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let home = Home::at(&args.home);
    let is_new = !home.key_file().exists();
    let member = match is_new {
        true => home.create_key(witan_files::random_seed().map_err(|error| {
            Failure::environment(format!("no random bytes for a key: {error}"))
        })?)?,
        false => home.read_key()?.member(),
    };
    let pem = identity::public_pem(&member).filter(|_| args.pem);
    output::print(|out| {
        if let Some(pem) = pem {
            return write!(out, "{pem}");
        }
        if args.json {
            let value = serde_json::json!({ "key": member.to_string(), "created": is_new });
            return output::json_line(out, &value);
        }
        let made = if is_new { "made " } else { "" };
        writeln!(out, "{made}{}\n", home.key_file().display())?;
        writeln!(out, "public key {member}\n")?;
        writeln!(
            out,
            "next: send the public key to whoever writes federation.toml; keep the file itself"
        )?;
        writeln!(out, "      on this machine: a lost key must be replaced by a vote of the members")
    })
}
