//! Opens a home and puts a node together: what it recovers, in what order, and what stops the
//! start.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use witan_files::Blobs;
use witan_home::audit;
use witan_home::settings::Settings;
use witan_home::store::Store;
use witan_home::{Failure, FailureKind, Home};
use witan_net::{self as net, NetError, NetSettings};
use witan_protocol::io::Time;
use witan_protocol::member::MemberId;
use witan_protocol::{Config, Participant};

use crate::control;
use crate::driver::{Driver, Sources, unix_ms};
use crate::events::{NodeEvent, TimedEvent};
use crate::jobs::error_feedback::ErrorFeedback;
use crate::jobs::train::Places;
use crate::jobs::{FederatedModel, Jobs};
use witan_home::settings::Compute;

/// What a start is asked besides what the home says.
#[derive(Clone, Debug, Default)]
pub struct Start {
    /// Whether to start with a key that is no member's: it watches until the members have added it.
    pub join: bool,
    /// Where to compute, in place of what the settings say.
    pub device: Option<Compute>,
    /// Bootstrap peers to ask besides the federation's.
    pub bootstrap: Vec<String>,
}

/// Opens `home` and starts everything but the loop.
///
/// # Errors
/// Whatever stops a start: a busy home, a damaged journal, bad data, a port in use, no such device.
pub async fn node(
    home: &Home,
    start: Start,
    mut on_event: Box<dyn FnMut(&TimedEvent) + Send>,
) -> Result<Driver, Failure> {
    let federation = Arc::new(home.read_federation()?);
    let mut settings = Settings::read(&home.settings_file())?;
    settings.device = start.device.unwrap_or(settings.device);
    let identity = home.read_key()?;
    let (store, recovered) = Store::open(home)?;
    let blobs = Blobs::open(home.blobs())?;
    blobs.sweep()?;
    let model = FederatedModel::of_home(home, &federation)?;
    model.check_base(&federation)?;
    let start_adapter = blobs.put(&model.aggregation.initial.to_bytes())?;
    let started = Instant::now();
    let (rounds, repairs) = (recovered.records.len() as u64, recovered.repairs());
    let config =
        Config { federation: Arc::clone(&federation), identity: identity.clone(), start_adapter };
    let records = recovered.records.into_iter().map(|record| record.bytes).collect();
    let wal = recovered.wal.into_iter().map(|entry| entry.bytes).collect();
    let participant = Participant::restore(config, records, wal, Time(0)).map_err(|error| {
        Failure::new(FailureKind::Tampered, format!("{}: {error}", home.root().display()))
            .hint(audit::verify_hint(home))
    })?;
    let (me, roster) = (identity.member(), participant.roster());
    if !roster.contains(&me) && !start.join {
        return Err(not_a_member(home, &me));
    }
    let name = roster.name_of(&me);
    let feedback = ErrorFeedback::within(home.owed());
    let places = Places { blobs: blobs.clone(), feedback, targets: home.targets() };
    let (jobs, job_events) = Jobs::start(model, &federation, &settings, places)?;
    let (net, net_events) = net::start(NetSettings {
        seed: identity.seed(),
        federation,
        listen: settings.listen.clone(),
        bootstrap: start.bootstrap,
        blobs: blobs.clone(),
    })
    .map_err(no_network)?;
    let sources = Sources { net: net_events, jobs: job_events, control: control::listen(home)? };
    on_event(&TimedEvent { at_ms: unix_ms(), kind: NodeEvent::Started { name, rounds } });
    Ok(Driver { participant, net, store, blobs, jobs, sources, on_event, started, repairs })
}

/// What a network that does not start is to the caller of a command.
pub fn no_network(error: NetError) -> Failure {
    let kind = match &error {
        NetError::Listen { source, .. } if source.kind() == io::ErrorKind::AddrInUse => {
            FailureKind::Busy
        }
        NetError::Address { .. } | NetError::Anonymous { .. } | NetError::NotAKey { .. } => {
            FailureKind::Input
        }
        _ => FailureKind::Environment,
    };
    Failure { kind, message: error.to_string(), hint: error.hint().map(str::to_owned) }
}

fn not_a_member(home: &Home, key: &MemberId) -> Failure {
    let (own, file) = (home.key_file(), home.federation_file());
    Failure::input(format!(
        "key {key} of {} is in no [[members]] of {}",
        own.display(),
        file.display()
    ))
    .hint(
        "have it added to everybody's federation.toml, or by `witan member propose add`, which \
         --join waits for; or put the member's own key back",
    )
}
