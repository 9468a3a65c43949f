//! `witan member`: who is a member, and the votes that change it.

use std::io::{self, Write};
use std::path::PathBuf;

use serde::Serialize;
use witan_home::{Failure, FailureKind, Home};
use witan_net as net;
use witan_node::control::Client;
use witan_node::control::petitions::{CastRequest, PetitionRow};
use witan_protocol::Roster;
use witan_protocol::digest::Digest;
use witan_protocol::federation::Member;
use witan_protocol::member::MemberId;
use witan_protocol::wire::Change;

use super::{log, output};

/// List the members, propose a change of membership, or vote on one.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The node's home folder; to propose and to vote, the node must run.
    #[arg(long, value_name = "FOLDER", global = true, default_value = ".")]
    home: PathBuf,
    /// Print one JSON object.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// List the members in force, and the open petitions with their ballots.
    List,
    /// Propose a change; this member's yes is its first ballot.
    #[command(subcommand)]
    Propose(Proposed),
    /// Cast this member's ballot on an open petition. A yes is final, a no may become a yes.
    Vote {
        /// The petition's id, or the first digits of it.
        id: String,
        /// Yes or no.
        say: Word,
    },
}

#[derive(Debug, clap::Subcommand)]
enum Proposed {
    /// Add a member; start its node with `witan run --join`.
    Add {
        /// What people call it.
        name: String,
        /// Its public key, as `witan keys` prints it.
        key: String,
        /// An address to reach it at; may be repeated.
        #[arg(long = "address", value_name = "MULTIADDRESS")]
        addresses: Vec<String>,
        /// Multiply its training steps by this when updates are averaged.
        #[arg(long, default_value_t = 1)]
        weight: u32,
    },
    /// Remove a member: close its connections and refuse its messages.
    Remove {
        /// Its name, or the first digits of its key.
        name: String,
    },
    /// Give a member a new key; it may lead again.
    RotateKey {
        /// Its name, or the first digits of its key.
        name: String,
        /// The new public key, as `witan keys` prints it.
        new_key: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Word {
    Yes,
    No,
}

/// What `list --json` prints.
#[derive(Debug, Serialize)]
struct Listing {
    federation: Digest,
    in_force_since: u64,
    quorum: usize,
    members: Vec<Member>,
    petitions: Option<Vec<PetitionRow>>,
}

/// Lists, puts or votes.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let home = Home::existing(&args.home)?;
    let federation = home.read_federation()?;
    let roster = output::roster_of(&home, &federation)?;
    let say = match &args.what {
        What::List => return list(args, &home, &roster),
        What::Propose(proposed) => CastRequest::Propose(change(&roster, proposed)?),
        What::Vote { id, say } => CastRequest::Vote { id: id.clone(), approve: *say == Word::Yes },
    };
    let client = Client::connect(&home).ok_or_else(|| not_running(&home))?;
    let id = client.cast(&say)?;
    output::print(|out| {
        if args.json {
            return output::json_line(out, &serde_json::json!({ "petition": id.to_string() }));
        }
        match &say {
            CastRequest::Propose(change) => {
                writeln!(out, "petition {}: {}", id.short(), output::change(&roster, change))?;
                writeln!(
                    out,
                    "\nnext: {} of {} members must say yes:",
                    roster.quorum(),
                    roster.size()
                )?;
                writeln!(out, "      witan member vote {} yes --home …", id.short())
            }
            CastRequest::Vote { approve, .. } => {
                let said = if *approve { "yes" } else { "no" };
                writeln!(out, "petition {}: {said}", id.short())?;
                writeln!(out, "\nnext: witan member list --home {}", home.root().display())
            }
        }
    })
}

fn change(roster: &Roster, proposed: &Proposed) -> Result<Change, Failure> {
    Ok(match proposed {
        Proposed::Add { name, key, addresses, weight } => {
            if let Some(bad) = addresses.iter().find(|address| !net::is_address(address)) {
                return Err(Failure::usage(format!("--address {bad}: not a multiaddress"))
                    .hint("such as /dns4/node.example.org/tcp/4001"));
            }
            let (name, addresses) = (name.clone(), addresses.clone());
            Change::Add(Member { name, key: parse_key(key)?, addresses, weight: *weight })
        }
        Proposed::Remove { name } => Change::Remove(log::find_member(roster, name)?),
        Proposed::RotateKey { name, new_key } => {
            let (from, to) = (log::find_member(roster, name)?, parse_key(new_key)?);
            Change::RotateKey { from, to }
        }
    })
}

fn list(args: &Args, home: &Home, roster: &Roster) -> Result<(), Failure> {
    let petitions = Client::connect(home).map(Client::petitions).transpose()?;
    output::print(|out| {
        if args.json {
            let (federation, members) = (roster.federation().0, roster.members().to_vec());
            let (in_force_since, quorum) = (roster.since().0, roster.quorum());
            return output::json_line(
                out,
                &Listing { federation, in_force_since, quorum, members, petitions },
            );
        }
        list_for_people(out, home, roster, petitions.as_deref())
    })
}

fn list_for_people(
    out: &mut dyn Write,
    home: &Home,
    roster: &Roster,
    petitions: Option<&[PetitionRow]>,
) -> io::Result<()> {
    let (size, since, quorum) = (roster.size(), roster.since(), roster.quorum());
    writeln!(out, "federation {}", roster.federation().0)?;
    writeln!(out, "{size} members since round {since}; {quorum} votes decide\n")?;
    let rows = roster.members().iter().map(|member| {
        let weight = member.weight.to_string();
        vec![member.name.clone(), member.key.to_string(), weight, member.addresses.join(" ")]
    });
    let table = output::table(&["name", "key", "weight", "addresses"], rows);
    writeln!(out, "{}", table)?;
    let home = home.root().display();
    let Some(petitions) = petitions else {
        return writeln!(out, "the node is not running, so open petitions cannot be shown");
    };
    for row in petitions {
        let (id, change) = (row.id.short(), output::change(roster, &row.change));
        writeln!(out, "petition {id}: {change}; put by {}", roster.name_of(&row.by))?;
        let (yes, needed) = (output::names(roster, &row.yes, "nobody"), row.needed);
        writeln!(out, "  yes {} of {needed}: {yes}", row.yes.len())?;
        writeln!(out, "  no  {}", output::names(roster, &row.no, "nobody"))?;
        writeln!(out, "  open until round {} is committed", row.expires)?;
    }
    match petitions.last() {
        None => writeln!(out, "no petition is open\n\nnext: witan member propose --help"),
        Some(row) => {
            writeln!(out, "\nnext: witan member vote {} yes --home {home}", row.id.short())
        }
    }
}

fn parse_key(text: &str) -> Result<MemberId, Failure> {
    serde_json::from_value(serde_json::Value::from(text)).map_err(|_| {
        Failure::usage(format!("{text}: not a public key"))
            .hint("64 hexadecimal digits, as `witan keys` prints them")
    })
}

fn not_running(home: &Home) -> Failure {
    let home = home.root().display();
    Failure::new(
        FailureKind::Input,
        "no node runs in this home, so nothing can be proposed or voted on",
    )
    .hint(format!("start it with `witan run --home {home}`"))
}

#[cfg(test)]
mod tests {
    use witan_protocol::member::Round;

    use super::*;
    use crate::filled::filled;

    #[test]
    fn people_see_who_is_a_member_and_how_a_petition_stands() {
        let filled = filled();
        let roster = filled.federation.founders();
        let ids: Vec<_> = roster.members().iter().map(|member| member.id()).collect();
        let row = PetitionRow {
            id: Digest([0xab; 32]),
            change: Change::Remove(ids[3]),
            by: ids[0],
            expires: Round(17),
            yes: ids[..2].to_vec(),
            no: vec![],
            needed: 3,
        };
        let mut text = Vec::new();
        list_for_people(&mut text, &filled.home, roster, Some(&[row])).unwrap();
        let text = String::from_utf8(text).unwrap();
        for expected in [
            "4 members since round 1; 3 votes decide",
            &ids[3].to_string(),
            "petition abababab: remove member-4; put by member-1",
            "  yes 2 of 3: member-1, member-2",
            "  no  nobody",
            "next: witan member vote abababab yes --home ",
        ] {
            assert!(text.contains(expected), "{expected} in\n{text}");
        }
    }
}
