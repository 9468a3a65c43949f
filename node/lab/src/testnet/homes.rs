//! The homes of a testnet: one federation file, a home for each node, the machine's cores.
//!
//! ```text
//! DIR/testnet.json           what was asked for; --resume reads it
//! DIR/bootstrap/             the bootstrap peer's key
//! DIR/turns/                 one lock file for each core
//! DIR/targets/               what a checkpoint's drawings should become, for the comparison
//! DIR/nodes/NN/              a node's home: key.pem federation.toml node.toml journal db blobs
//! ```

use std::path::{Path, PathBuf};

use witan_home::settings::Settings;
use witan_home::{Failure, Home, audit};
use witan_model::trainable::BaseModel;
use witan_node::jobs::FederatedModel;
use witan_node::jobs::core_slots::CoreSlots;
use witan_protocol::digest::Digest;
use witan_protocol::federation::{Council, Document, FaultModel, Federation, Lora, Member};
use witan_protocol::ledger::Audited;
use witan_protocol::member::MemberId;

use crate::folder::{Folder, Kind};
use crate::spec::Spec;

/// A testnet's folder with all it needs to run.
#[derive(Clone, Debug)]
pub struct Homes {
    /// The folder.
    pub folder: Folder,
    /// What it was made for.
    pub spec: Spec,
    /// The members, in roster order.
    pub members: Vec<MemberId>,
}

/// What earlier runs of a testnet committed: the longest ledger, and in which home it is.
#[derive(Debug, Default)]
pub struct History {
    /// The node that has it.
    pub holder: usize,
    /// Its records, oldest first.
    pub records: Vec<Audited>,
}

impl Homes {
    /// Makes a new folder.
    ///
    /// # Errors
    /// If `dir` holds something else, or cannot be written.
    pub fn create(dir: &Path, spec: Spec, base: &dyn BaseModel) -> Result<Self, Failure> {
        let folder = Folder::new(dir, Kind::Testnet)?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        CoreSlots::create(&folder.path("turns"), cores).map_err(|error| {
            Failure::environment(format!("cannot make the core slots: {error}"))
        })?;
        let mut members = Vec::with_capacity(spec.cohort.nodes);
        for index in 0..spec.cohort.nodes {
            let home = Home::at(folder.path(home_name(index)));
            home.create()?;
            members.push(home.create_key(node_seed(spec.cohort.seed, index))?);
        }
        let federation = federation(&spec, &members, base)?;
        for index in 0..spec.cohort.nodes {
            let home = home_name(index);
            folder.write(home.join("federation.toml"), federation.to_toml().as_bytes())?;
            folder.write(home.join("node.toml"), settings(&spec, index).to_toml().as_bytes())?;
        }
        Ok(Self { folder: folder.claim(&spec)?, spec, members })
    }

    /// Opens a folder that an earlier run left.
    ///
    /// # Errors
    /// If there is none.
    pub fn open(dir: &Path) -> Result<Self, Failure> {
        let (folder, spec) = Folder::open(dir, Kind::Testnet)?;
        let federation = Home::at(folder.path(home_name(0))).read_federation()?;
        let members = federation.founders().members().iter().map(|member| member.key).collect();
        Ok(Self { folder, spec, members })
    }

    /// The home of node `index`.
    pub fn home(&self, index: usize) -> PathBuf {
        self.folder.path(home_name(index))
    }

    /// Reads what the homes have committed. One that cannot be read is passed over: its own node
    /// says what is wrong with it.
    pub fn history(&self, federation: &Federation, model: &FederatedModel) -> History {
        let of = |holder: usize| {
            let home = Home::at(self.home(holder));
            let records = audit::committed(&home, federation, model.aggregation.start()).ok()?;
            Some(History { holder, records })
        };
        let all = (0..self.spec.cohort.nodes).filter_map(of);
        all.max_by_key(|history| history.records.len()).unwrap_or_default()
    }
}

fn federation(
    spec: &Spec,
    members: &[MemberId],
    base: &dyn BaseModel,
) -> Result<Federation, Failure> {
    let lora = spec.learning.lora.of(base.lora());
    let member = |(index, key): (usize, &MemberId)| Member {
        name: format!("node-{index:02}"),
        key: *key,
        addresses: Vec::new(),
        weight: 1,
    };
    Federation::new(Document {
        name: "testnet".into(),
        seed: spec.cohort.seed,
        base: Digest(base.digest()?),
        tower: base.tower_digest()?.map(Digest),
        bootstrap: Vec::new(),
        lora: Lora {
            rank: u32::try_from(lora.rank).map_err(Failure::usage)?,
            alpha: lora.alpha,
            dropout: lora.dropout,
            targets: lora.targets,
        },
        training: spec.training(),
        council: Council {
            fault_model: FaultModel::Byzantine,
            round_deadline_s: ROUND_DEADLINE_S,
            view_timeout_ms: VIEW_TIMEOUT_MS,
            late_rounds: 0,
        },
        members: members.iter().enumerate().map(member).collect(),
    })
    .map_err(Failure::usage)
}

fn settings(spec: &Spec, index: usize) -> Settings {
    Settings {
        listen: vec!["/ip4/127.0.0.1/tcp/0".into(), "/ip4/127.0.0.1/udp/0/quic-v1".into()],
        data: spec.data(index),
        threads: 1,
        // As seen from the home, so that the whole folder can be moved.
        turns: Some(PathBuf::from("../../turns")),
        model: spec.learning.model.clone(),
        rank: None,
        device: spec.learning.device,
    }
}

/// A testnet's keys come from its seed, so that the same command makes the same federation.
fn node_seed(seed: u64, index: usize) -> [u8; 32] {
    Digest::of_kind("witan testnet node key", format!("{seed}/{index}").as_bytes()).0
}

fn home_name(index: usize) -> PathBuf {
    Path::new("nodes").join(format!("{index:02}"))
}

/// Members of one machine share its cores, so a round may take as long as all of them one by one.
const ROUND_DEADLINE_S: u64 = 300;
/// How long the first aggregator of a round has before the next one takes over.
const VIEW_TIMEOUT_MS: u64 = 2000;
