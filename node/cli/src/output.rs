//! What the commands that read a home share: a quiet end when a pipe closes, plain tables, times,
//! and names of members.

use std::io::{self, BufWriter, Write};
use std::sync::Arc;
use std::time::Duration;

use comfy_table::{Table, presets};
use jiff::Timestamp;
use jiff::fmt::friendly::SpanPrinter;
use serde::Serialize;
use witan_home::store::{self, StoredRecord};
use witan_home::{Failure, Home};
use witan_protocol::codec;
use witan_protocol::ledger;
use witan_protocol::member::MemberId;
use witan_protocol::wire::envelope::RECORD_BYTES_MAX;
use witan_protocol::wire::{Change, RoundRecord};
use witan_protocol::{Federation, Roster};

/// Runs `write` on standard output. A reader that has seen enough (`| head`) is no failure.
pub(crate) fn print(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    match write(&mut out).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::environment(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Writes one JSON value on a line of its own.
pub(crate) fn json_line(out: &mut dyn Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    writeln!(out)
}

/// Prints a report as its file has it.
pub(crate) fn json_report(report: &impl Serialize) -> Result<(), Failure> {
    let json = serde_json::to_string_pretty(report).expect("a report is plain JSON");
    print(|out| writeln!(out, "{json}"))
}

/// A table without lines and without blanks at line ends, which survives copying into a mail.
pub(crate) fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header.to_vec());
    for row in rows {
        table.add_row(row);
    }
    table.trim_fmt() + "\n"
}

/// Names with commas, or a word for none.
pub(crate) fn names<'a>(
    roster: &Roster,
    members: impl IntoIterator<Item = &'a MemberId>,
    none: &str,
) -> String {
    let names: Vec<_> = members.into_iter().map(|member| roster.name_of(member)).collect();
    if names.is_empty() { none.to_owned() } else { names.join(", ") }
}

/// The rosters of stored rounds, and last the one in force after them; believed, not checked.
pub(crate) fn rosters(federation: &Federation, records: &[StoredRecord]) -> Vec<Arc<Roster>> {
    let mut rosters = vec![Arc::clone(federation.founders())];
    for stored in records {
        let roster = &rosters[rosters.len() - 1];
        let record = codec::decode::<RoundRecord>(&stored.bytes, RECORD_BYTES_MAX);
        rosters.push(
            record.map_or_else(
                |_| Arc::clone(roster),
                |it| ledger::roster_after(roster, &it.proposal),
            ),
        );
    }
    rosters
}

/// A change of the roster, with names for keys.
pub(crate) fn change(roster: &Roster, change: &Change) -> String {
    match change {
        Change::Add(member) => format!("add {} with key {}", member.name, member.key),
        Change::Remove(key) => format!("remove {}", roster.name_of(key)),
        Change::RotateKey { from, to } => format!("give {} the key {to}", roster.name_of(from)),
    }
}

/// The roster in force in a home.
pub(crate) fn roster_of(home: &Home, federation: &Federation) -> Result<Arc<Roster>, Failure> {
    let records = store::read_records(home)?.records;
    Ok(Arc::clone(&rosters(federation, &records)[records.len()]))
}

/// A moment as `2026-03-01 09:05:07.250` in UTC.
pub(crate) fn moment(unix_ms: u64) -> String {
    let moment = i64::try_from(unix_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    moment.unwrap_or(Timestamp::MAX).strftime("%F %T%.3f").to_string()
}

/// A span of time such as `850ms`, `12s` or `3m 20s`.
pub(crate) fn span(ms: u64) -> String {
    let shown = if ms < 1_000 { ms } else { ms / 1_000 * 1_000 };
    SpanPrinter::new().unsigned_duration_to_string(&Duration::from_millis(shown))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_gregorian_utc() {
        assert_eq!(moment(0), "1970-01-01 00:00:00.000");
        assert_eq!(moment(951_827_696_789), "2000-02-29 12:34:56.789");
        assert_eq!(moment(4_102_444_799_999), "2099-12-31 23:59:59.999");
    }

    #[test]
    fn spans_are_short() {
        assert_eq!(span(850), "850ms");
        assert_eq!(span(12_345), "12s");
        assert_eq!(span(200_000), "3m 20s");
    }
}
