//! The gossip log: what this node sent, received, accepted and refused, in order. For people; it
//! steers nothing, so it is written in batches and may lose its last second in a crash.

use serde::{Deserialize, Serialize};
use witan_protocol::io::Notice;
use witan_protocol::member::{MemberId, Round};
use witan_protocol::wire::Kind;

/// Entries kept. A round of 16 members makes about 1 000, so this is the last hundred rounds or so,
/// about 30 MB; the oldest go first.
pub const ENTRIES_MAX: u64 = 100_000;

/// Entries waiting to be written together; also the most that a crash of the process can lose.
const BATCH: usize = 64;

/// Entries dropped at a time once the log is full, so that the cap costs nothing per entry.
const DROP_AT_ONCE: u64 = 1_000;

/// One line of the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogEntry {
    /// Its place in this node's log, from 0; never used twice.
    pub seq: u64,
    /// When, by this node's clock, in milliseconds since 1970.
    pub at_ms: u64,
    /// What.
    pub notice: Notice,
}

/// Which entries are wanted; an absent field asks for all.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogFilter {
    /// Of this round.
    #[serde(default)]
    pub round: Option<Round>,
    /// Messages of this kind.
    #[serde(default)]
    pub kind: Option<Kind>,
    /// From, through, to or about this member.
    #[serde(default)]
    pub peer: Option<MemberId>,
    /// With a `seq` above this.
    #[serde(default)]
    pub after: Option<u64>,
}

/// The log as a sled tree: `seq`, big-endian → CBOR of the moment and the notice.
#[derive(Debug)]
pub struct GossipLog {
    tree: sled::Tree,
    waiting: Vec<LogEntry>,
    oldest: u64,
    next: u64,
    entries_max: u64,
}

#[derive(Serialize, Deserialize)]
struct Row {
    at_ms: u64,
    notice: Notice,
}

impl GossipLog {
    /// The log kept in this tree.
    pub fn open(tree: sled::Tree) -> Result<Self, sled::Error> {
        Self::with_cap(tree, ENTRIES_MAX)
    }

    fn with_cap(tree: sled::Tree, entries_max: u64) -> Result<Self, sled::Error> {
        let oldest = tree.first()?.map_or(0, |(key, _)| seq_of(&key));
        let next = tree.last()?.map_or(0, |(key, _)| seq_of(&key) + 1);
        Ok(Self { tree, waiting: Vec::with_capacity(BATCH), oldest, next, entries_max })
    }

    /// The number the next entry will have: how many there ever were.
    pub fn end(&self) -> u64 {
        self.next
    }

    /// How many entries there are, or the first that is missing between the others.
    pub fn entries(&self) -> Result<Result<u64, u64>, sled::Error> {
        for (expected, row) in (self.oldest..).zip(&self.tree) {
            if seq_of(&row?.0) != expected {
                return Ok(Err(expected));
            }
        }
        Ok(Ok(self.next - self.oldest))
    }

    /// Appends an entry; written with the next batch.
    pub fn append(&mut self, at_ms: u64, notice: &Notice) -> Result<LogEntry, sled::Error> {
        let entry = LogEntry { seq: self.next, at_ms, notice: notice.clone() };
        self.next += 1;
        self.waiting.push(entry.clone());
        if self.waiting.len() >= BATCH {
            self.write()?;
        }
        Ok(entry)
    }

    /// Writes what waits. If that fails, what waited is lost: the log must not grow in memory.
    pub fn write(&mut self) -> Result<(), sled::Error> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let mut batch = sled::Batch::default();
        for LogEntry { seq, at_ms, notice } in self.waiting.drain(..) {
            batch.insert(&seq.to_be_bytes(), encode(&Row { at_ms, notice }));
        }
        if self.next - self.oldest >= self.entries_max + DROP_AT_ONCE {
            let keep_from = self.next - self.entries_max;
            for seq in self.oldest..keep_from {
                batch.remove(&seq.to_be_bytes());
            }
            self.oldest = keep_from;
        }
        self.tree.apply_batch(batch)
    }

    /// At most `limit` entries the filter asks for, oldest first.
    pub fn read(&mut self, filter: &LogFilter, limit: usize) -> Result<Vec<LogEntry>, sled::Error> {
        self.write()?;
        let from = filter.after.map_or(0, |after| after.saturating_add(1));
        let mut found = Vec::new();
        for row in self.tree.range(from.to_be_bytes()..) {
            let (key, value) = row?;
            // A row of another version of the program is skipped: the log is for people.
            let Ok(Row { at_ms, notice }) = ciborium::from_reader(value.as_ref()) else {
                continue;
            };
            if filter.wants(&notice) {
                found.push(LogEntry { seq: seq_of(&key), at_ms, notice });
            }
            if found.len() >= limit {
                break;
            }
        }
        Ok(found)
    }
}

impl LogFilter {
    /// Whether the entry is asked for.
    pub fn matches(&self, entry: &LogEntry) -> bool {
        self.after.is_none_or(|after| entry.seq > after) && self.wants(&entry.notice)
    }

    fn wants(&self, notice: &Notice) -> bool {
        let subject = Subject::of(notice);
        self.round.is_none_or(|round| subject.round == Some(round))
            && self.kind.is_none_or(|kind| subject.kind == Some(kind))
            && self.peer.is_none_or(|peer| subject.peers.contains(&peer))
    }
}

/// The round a notice is about, if it is about one.
pub fn round_of(notice: &Notice) -> Option<Round> {
    Subject::of(notice).round
}

/// What a notice is about.
struct Subject {
    round: Option<Round>,
    kind: Option<Kind>,
    peers: Vec<MemberId>,
}

impl Subject {
    fn of(notice: &Notice) -> Self {
        let about =
            |round: &Round, peers: Vec<MemberId>| Self { round: Some(*round), kind: None, peers };
        match notice {
            Notice::Sent { kind, round, to, .. } => {
                Self { round: Some(*round), kind: Some(*kind), peers: to.iter().copied().collect() }
            }
            Notice::Accepted { kind, round, from, via, .. } => {
                Self { round: Some(*round), kind: Some(*kind), peers: vec![*from, *via] }
            }
            Notice::Refused { via, kind, .. } => {
                Self { round: None, kind: *kind, peers: vec![*via] }
            }
            Notice::RoundStarted { round } => about(round, Vec::new()),
            Notice::ViewStarted { round, aggregator, .. }
            | Notice::ViewFailed { round, aggregator, .. }
            | Notice::Committed { round, aggregator, .. } => about(round, vec![*aggregator]),
            Notice::Objection { round, against, .. } => about(round, vec![*against]),
            Notice::Stalled { round, missing, .. } => about(round, missing.clone()),
            Notice::Suspended { round, member, .. } => about(round, vec![*member]),
            Notice::RosterChanged { round, .. } => about(round, Vec::new()),
            Notice::Missing { members } => Self { round: None, kind: None, peers: members.clone() },
            Notice::Finished | Notice::Repaired { .. } => {
                Self { round: None, kind: None, peers: Vec::new() }
            }
        }
    }
}

fn encode(row: &Row) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(row, &mut bytes).expect("a notice is plain data, and memory takes it");
    bytes
}

fn seq_of(key: &[u8]) -> u64 {
    key.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_entries_go_first_and_numbers_are_never_used_twice() {
        let dir = tempfile::tempdir().unwrap();
        let db = sled::open(dir.path()).unwrap();
        let mut log = GossipLog::with_cap(db.open_tree("log").unwrap(), 500).unwrap();
        for round in 0..5_000 {
            log.append(round, &Notice::RoundStarted { round: Round(round) }).unwrap();
        }
        let kept = log.read(&LogFilter::default(), usize::MAX).unwrap();
        let cap = 500..500 + usize::try_from(DROP_AT_ONCE).unwrap();
        assert!(cap.contains(&kept.len()), "{}", kept.len());
        assert_eq!(kept.last().unwrap().seq, 4_999);
        drop(log);
        let mut log = GossipLog::with_cap(db.open_tree("log").unwrap(), 500).unwrap();
        assert_eq!(log.append(9, &Notice::Finished).unwrap().seq, 5_000);
    }
}
