//! What earlier runs of a testnet committed, read from its homes when it is resumed.

use witan_home::{Home, audit};
use witan_node::jobs::Ground;
use witan_protocol::federation::Federation;
use witan_protocol::ledger::Audited;

use super::prepare::Folder;

/// What earlier runs committed: the longest ledger, and in which home it is.
#[derive(Debug, Default)]
pub struct Past {
    /// The node that has it.
    pub holder: usize,
    /// Its records, oldest first.
    pub records: Vec<Audited>,
}

impl Past {
    /// Reads every home. One that cannot be read is passed over: its own node says what is wrong with it.
    pub fn of(folder: &Folder, federation: &Federation, ground: &Ground) -> Self {
        let held = |holder: usize| {
            let home = Home::at(folder.home(holder));
            let records = audit::committed(&home, federation, ground.start()).ok()?;
            Some(Self { holder, records })
        };
        let all = (0..folder.plan.nodes).filter_map(held);
        all.max_by_key(|past| past.records.len()).unwrap_or_default()
    }
}
