//! `witan log`: the gossip log, for people and machines. A running node is asked over its control
//! socket, because its database lets nobody else in; of a stopped one, a copy is read.

use std::io::{self, Write};
use std::path::PathBuf;

use witan_home::store::{LogEntry, LogFilter, Snapshot, round_of};
use witan_home::{Failure, FailureKind, Home};
use witan_node::control::Client;
use witan_node::events::notice_sentence;
use witan_protocol::Roster;
use witan_protocol::member::{MemberId, Round};
use witan_protocol::wire::Kind;

use super::output;

/// Show the gossip log: what was sent, received, accepted and refused, when and from whom.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The node's home folder.
    #[arg(long, value_name = "FOLDER")]
    pub home: PathBuf,
    /// Show only entries of this round.
    #[arg(long, value_name = "NUMBER")]
    pub round: Option<u64>,
    /// Show only messages of this kind: progress, update, proposal, vote, objection, holdings,
    /// record, evidence or ballot.
    #[arg(long, value_name = "KIND", value_parser = parse_kind)]
    pub kind: Option<Kind>,
    /// Show only entries to, from, through or about this member: a name, or the first digits of a
    /// key.
    #[arg(long, value_name = "MEMBER")]
    pub peer: Option<String>,
    /// Print one JSON object per entry.
    #[arg(long)]
    pub json: bool,
    /// Keep showing new entries until Ctrl-C or until the node stops.
    #[arg(long)]
    pub follow: bool,
}

/// Prints the log.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let home = Home::existing(&args.home)?;
    let federation = home.read_federation()?;
    let roster = output::roster_of(&home, &federation)?;
    let peer = args.peer.as_deref().map(|peer| find_member(&roster, peer)).transpose()?;
    let filter = LogFilter { round: args.round.map(Round), kind: args.kind, peer, after: None };
    let mut shown = 0_u64;
    let mut result = Ok(());
    output::print(|out| {
        let mut each = |entry: &LogEntry| {
            shown += 1;
            let written = match args.json {
                true => output::json_line(out, entry),
                false => writeln!(out, "{}", line(&roster, entry)),
            };
            // Whoever follows wants to see it now.
            written.and_then(|()| if args.follow { out.flush() } else { Ok(()) }).is_ok()
        };
        result = read(&home, &filter, args.follow, &mut each);
        Ok(())
    })?;
    result?;
    if !args.json && !args.follow {
        output::print(|out| summary(out, &home, shown))?;
    }
    Ok(())
}

fn read(
    home: &Home,
    filter: &LogFilter,
    follow: bool,
    each: &mut dyn FnMut(&LogEntry) -> bool,
) -> Result<(), Failure> {
    if let Some(node) = Client::connect(home) {
        return Ok(node.log(filter, follow, each)?);
    }
    if follow {
        let start = format!("start it with: {}", home.command("run"));
        let message = "no node runs in this home, so there is nothing to follow";
        return Err(Failure::new(FailureKind::Input, message).hint(start));
    }
    let Some(mut stored) = Snapshot::take(home)? else { return Ok(()) };
    let mut filter = filter.clone();
    loop {
        let page = stored.log(&filter)?;
        let Some(last) = page.last() else { return Ok(()) };
        filter.after = Some(last.seq);
        if !page.iter().all(&mut *each) {
            return Ok(());
        }
    }
}

fn summary(out: &mut dyn Write, home: &Home, shown: u64) -> io::Result<()> {
    let next = home.command("status");
    match shown {
        0 => writeln!(out, "nothing in the log matches\n\nnext: {next}"),
        1 => writeln!(out, "\n1 entry; --json gives all fields"),
        _ => writeln!(out, "\n{shown} entries; --round, --kind and --peer narrow it down"),
    }
}

/// One entry on one line: when, round, what, and its evidence.
fn line(roster: &Roster, entry: &LogEntry) -> String {
    let round = round_of(&entry.notice).map_or_else(|| "-".into(), |round| format!("r{round}"));
    let text = notice_sentence(&entry.notice, &|member| roster.name_of(member));
    format!("{}  {round:<5} {text}", output::moment(entry.at_ms))
}

fn parse_kind(text: &str) -> Result<Kind, String> {
    serde_json::from_value(serde_json::Value::from(text)).map_err(|_| {
        "expected progress, update, proposal, vote, objection, holdings, record, evidence or ballot"
            .to_owned()
    })
}

/// The one member of this name, or whose key begins with these digits.
pub(crate) fn find_member(roster: &Roster, text: &str) -> Result<MemberId, Failure> {
    let members = roster.members();
    if let Some(member) = members.iter().find(|member| member.name == text) {
        return Ok(member.id());
    }
    let digits = text.to_ascii_lowercase();
    let mut found = members
        .iter()
        .map(|member| member.id())
        .filter(|member| digits.len() >= 4 && member.to_string().starts_with(&digits));
    match (found.next(), found.next()) {
        (Some(member), None) => Ok(member),
        _ => {
            let names: Vec<_> = members.iter().map(|member| member.name.as_str()).collect();
            Err(Failure::usage(format!("{text}: no member of that name"))
                .hint(format!("the members are {}", names.join(", "))))
        }
    }
}

#[cfg(test)]
mod tests {
    use witan_protocol::digest::Digest;
    use witan_protocol::io::Notice;

    use super::*;
    use crate::filled::filled;

    #[test]
    fn a_line_tells_when_what_from_whom_and_the_evidence() {
        let federation = filled().federation;
        let member = |place: usize| federation.founders().members()[place].id();
        let digest = Digest([0xab; 32]);
        let accepted = Notice::Accepted {
            kind: Kind::Update,
            round: Round(2),
            from: member(0),
            via: member(1),
            digest,
            size_bytes: 370,
            gist: "8 steps".into(),
        };
        let refused = Notice::Refused {
            via: MemberId([7; 32]),
            kind: None,
            reason: "not a COSE_Sign1 envelope".into(),
            digest,
            size_bytes: 12,
        };
        let line = |notice| line(federation.founders(), &LogEntry { seq: 0, at_ms: 0, notice });
        assert_eq!(
            line(accepted),
            "1970-01-01 00:00:00.000  r2    accepted update    from member-1 via member-2: \
             8 steps  [abababab, 370 B]"
        );
        assert_eq!(
            line(refused),
            "1970-01-01 00:00:00.000  -     refused  unknown   via 07070707: not a COSE_Sign1 \
             envelope  [abababab, 12 B]"
        );
    }

    #[test]
    fn a_member_is_found_by_name_or_by_the_head_of_its_key_alone() {
        let federation = filled().federation;
        let member = federation.founders().members()[2].id();
        assert_eq!(find_member(federation.founders(), "member-3").unwrap(), member);
        assert_eq!(find_member(federation.founders(), &member.to_string()[..8]).unwrap(), member);
        let failure = find_member(federation.founders(), "nobody").unwrap_err();
        assert!(failure.hint.unwrap().contains("member-1, member-2"));
    }

    #[test]
    fn kinds_are_spelt_as_in_the_log() {
        assert_eq!(parse_kind("vote"), Ok(Kind::Vote));
        assert!(parse_kind("votes").unwrap_err().contains("holdings"));
    }
}
