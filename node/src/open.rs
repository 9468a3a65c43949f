//! Opens a home and puts a node together: what it recovers, in what order, and what stops the start.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use witan_protocol::federation::Federation;
use witan_protocol::identity::Identity;
use witan_protocol::io::Time;
use witan_protocol::{Config, Participant};

use crate::control::{self, ControlSocket};
use crate::driver::{Driver, Sources};
use crate::error::Failure;
use crate::events::NodeEvent;
use crate::home::Home;
use crate::jobs::{self, Ground, Jobs};
use crate::net::{self, NetSettings};
use crate::settings::Settings;
use crate::store::blobs::Blobs;
use crate::store::{Store, keys};


/// A node ready to run.
pub struct Node {
    /// The loop.
    pub driver: Driver,
    /// Where its events come from.
    pub sources: Sources,
    /// Its name in the federation.
    pub name: String,
    /// Rounds in its ledger.
    pub rounds: u64,
    /// Closed when dropped.
    pub socket: ControlSocket,
}

/// The federation of a home.
///
/// # Errors
/// If the file is missing or wrong; the field is named.
pub fn federation(home: &Home) -> Result<Federation, Failure> {
    let path = home.federation();
    let text = read(&path)?;
    Federation::from_toml(&text)
        .map_err(|error| Failure::input(format!("{}: {error}", path.display())))
}

/// The member's key.
///
/// # Errors
/// If the file is missing, damaged, or readable by others.
pub fn identity(home: &Home) -> Result<Identity, Failure> {
    let pem = keys::read(&home.key())?;
    Identity::from_pem(&pem).map_err(|error| {
        Failure::input(format!("{}: {error}", home.key().display()))
            .hint("the key file must be an ed25519 key in PKCS#8 PEM form")
    })
}

/// Opens `home` and starts everything but the loop.
///
/// # Errors
/// Whatever stops a start: a busy home, a damaged journal, bad data, a port in use.
pub fn node(
    home: &Home,
    tell: Box<dyn FnMut(&NodeEvent) + Send>,
) -> Result<Node, Failure> {
    let federation = Arc::new(federation(home)?);
    let settings = Settings::read(&home.settings())?;
    let identity = identity(home)?;
    let name = federation.name_of(&identity.member());
    let (store, recovered) = Store::open(home)?;
    let blobs = Blobs::open(home.blobs())?;
    blobs.sweep()?;
    let ground = Ground::new(jobs::embedded_base()?, &federation)?;
    let start_adapter = blobs.put(&ground.initial.to_bytes())?;
    let started = Instant::now();
    let rounds = recovered.records.len() as u64;
    let config = Config {
        federation: Arc::clone(&federation),
        identity: identity.clone(),
        start_adapter,
    };
    let records = recovered.records.into_iter().map(|record| record.bytes).collect();
    let wal = recovered.wal.into_iter().map(|entry| entry.bytes).collect();
    let participant = Participant::restore(config, records, wal, Time(0)).map_err(Failure::input)?;
    let (jobs, job_events) = Jobs::start(ground, &federation, &settings, blobs.clone())?;
    let (net, net_events) = net::start(NetSettings {
        seed: identity.seed(),
        federation,
        listen: settings.listen.clone(),
        blobs: blobs.clone(),
    })?;
    let (socket, control) = control::listen(home)?;
    let driver = Driver { participant, store, blobs, net, jobs, tell, started };
    let sources = Sources { net: net_events, jobs: job_events, control };
    Ok(Node { driver, sources, name, rounds, socket })
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| {
        Failure::input(format!("cannot read {}: {error}", path.display()))
            .hint("a node's home holds federation.toml; `witan testnet` makes such homes")
    })
}
