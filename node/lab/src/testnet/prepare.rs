//! The folder of a testnet: one federation file, a home for each node, turns at the cores.
//!
//! ```text
//! DIR/testnet.json           what was asked for; --resume reads it
//! DIR/bootstrap/             the bootstrap peer's key
//! DIR/turns/                 one lock file for each core
//! DIR/targets/               what a checkpoint's drawings should become, for the comparison
//! DIR/nodes/NN/              a node's home: key.pem federation.toml node.toml journal db blobs
//! ```

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use witan_home::settings::{By, DataSource, Settings, Share};
use witan_home::{Failure, Home, shell};
use witan_node::jobs::LoraConfig;
use witan_node::jobs::device::Compute;
use witan_node::jobs::foundation::Foundation;
use witan_node::jobs::shard::Taught;
use witan_node::jobs::tower::FOLDER;
use witan_node::jobs::turns::Turns;
use witan_protocol::digest::Digest;
use witan_protocol::federation::{
    Compression, Council, Document, FaultModel, Federation, Lora, Member, Strategy, Training,
};
use witan_protocol::member::MemberId;

use crate::training::together;

/// What a testnet is asked to be; kept in its folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Nodes.
    pub nodes: usize,
    /// Rounds.
    pub rounds: u64,
    /// Dirichlet concentration of the data over the answers; `None`: identically distributed.
    pub alpha: Option<f64>,
    /// A rule of sharing in place of `alpha`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<By>,
    /// Seeds keys, data, partition and training.
    pub seed: u64,
    /// Optimiser steps a member takes each round.
    pub local_steps: u32,
    /// How updates are combined.
    pub strategy: Strategy,
    /// How deltas are written.
    pub compression: Compression,
    /// An absolute path to a BLIP3o checkpoint's folder; `None`: the embedded model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<PathBuf>,
    /// Where the nodes and the judge compute.
    pub device: Compute,
    /// An absolute path to a folder of VQA v2's files; `None`: the embedded scenes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vqa: Option<PathBuf>,
    /// An absolute path to a file of image and caption pairs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub captions: Option<PathBuf>,
    /// Embedded scenes in all; `None`: 300 for each node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scenes: Option<usize>,
    /// Questions of one training step: an answer is one token, so they are cheap.
    pub batch_questions: u32,
    /// Captions of one training step.
    pub batch_captions: u32,
    /// Batches whose gradients' mean makes one step.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub accumulation: u32,
    /// The norm that gradients are scaled down to if theirs is above it; `None`: they stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gradient_norm_max: Option<f64>,
    /// AdamW's step size of one trainer at first; members take [`together`] times that.
    pub learning_rate: f64,
    /// What the adapter is, where it is not the model's usual one.
    #[serde(default, skip_serializing_if = "Shape::is_usual")]
    pub lora: Shape,
}

/// An adapter's settings, as PEFT's `LoraConfig` has them; `None`: as usual.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Shape {
    /// Rank of the factors.
    pub rank: Option<u16>,
    /// Scale numerator; twice the rank if only that is given.
    pub alpha: Option<f64>,
    /// Dropout on the adapter's input.
    pub dropout: Option<f64>,
    /// Ends of the names of the layers that carry an adapter.
    pub targets: Option<Vec<String>>,
}

impl Shape {
    /// An adapter like the usual one but for what is given here.
    pub fn of(&self, usual: LoraConfig) -> LoraConfig {
        let rank = self.rank.map(usize::from);
        let doubled = rank.map(|rank| 2.0 * rank as f64);
        LoraConfig {
            rank: rank.unwrap_or(usual.rank),
            alpha: self.alpha.or(doubled).unwrap_or(usual.alpha),
            dropout: self.dropout.unwrap_or(usual.dropout),
            targets: self.targets.clone().unwrap_or(usual.targets),
        }
    }

    fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for Plan {
    /// What `witan testnet` does when it is told nothing; `witan train` and `witan grid` follow it. `docs/LOG.md` has
    /// what other steps, batches, step sizes and strategies gave on the embedded base.
    fn default() -> Self {
        Self {
            nodes: 16,
            rounds: 10,
            alpha: Some(0.5),
            by: None,
            seed: 1,
            local_steps: 60,
            strategy: Strategy::FedAvgM { momentum: 0.5 },
            compression: Compression::default(),
            model: None,
            device: Compute::default(),
            vqa: None,
            captions: None,
            scenes: None,
            batch_questions: 12,
            batch_captions: 4,
            accumulation: 1,
            gradient_norm_max: None,
            learning_rate: 1.5e-3,
            lora: Shape::default(),
        }
    }
}

impl Plan {
    /// What a member does in a round.
    pub fn training(&self) -> Training {
        let learning_rate = self.learning_rate * together(self.nodes);
        Training {
            rounds: self.rounds,
            local_steps: self.local_steps,
            batch_questions: self.batch_questions,
            batch_captions: self.batch_captions,
            accumulation: self.accumulation,
            gradient_norm_max: self.gradient_norm_max,
            learning_rate,
            // So that the members end where they agree.
            learning_rate_final: learning_rate / 10.0,
            weight_decay: 0.0,
            strategy: self.strategy,
            compression: self.compression,
        }
    }

    /// Questions and captions of one step.
    pub fn examples_of_a_step(&self) -> u32 {
        self.batch_questions.saturating_add(self.batch_captions).saturating_mul(self.accumulation)
    }

    /// Where the data of node `index` come from.
    pub fn data(&self, index: usize) -> DataSource {
        let Self { nodes: of, alpha, by, seed, .. } = *self;
        let share = Share { index, of, alpha, by, seed };
        DataSource::of(self.vqa.clone(), self.captions.clone(), seed, share)
            .with_scenes(self.scenes)
    }
}

/// Refuses a plan whose steps can teach a model nothing of its data; what of them is left out, in words.
///
/// # Errors
/// If there is nothing to learn, or the data or a checkpoint's tower cannot be read.
pub fn left_out(plan: &Plan, foundation: &Foundation) -> Result<Option<String>, Failure> {
    let data = plan.data(0);
    let Taught { questions, captions } = foundation.taught(&data)?;
    let is_taught =
        (questions && plan.batch_questions > 0) || (captions && plan.batch_captions > 0);
    if !is_taught {
        return Err(Failure::input(format!("{data} has nothing that these steps can teach"))
            .hint(foundation.what_can_be_taught()));
    }
    let are_wanted = plan.batch_captions > 0 && !foundation.draws()?;
    Ok((are_wanted && Taught::of(&data, None)?.captions).then(|| {
        format!("captions are left out: the checkpoint has no {FOLDER}, which makes their targets")
    }))
}

/// A prepared folder.
#[derive(Clone, Debug)]
pub struct Folder {
    /// The folder.
    pub dir: PathBuf,
    /// What it was made for.
    pub plan: Plan,
    /// The members, in roster order.
    pub members: Vec<MemberId>,
}

impl Folder {
    /// Whether `dir` can become a testnet's folder: it is empty, or not there.
    ///
    /// # Errors
    /// What is in the way.
    pub fn is_free(dir: &Path) -> Result<(), Failure> {
        let other = "choose another folder with --dir";
        let mut entries = match dir.read_dir() {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => {
                let message = format!("cannot use {}: {error}", dir.display());
                return Err(Failure::input(message).hint(other));
            }
        };
        let (message, hint) = if dir.join(PLAN).exists() {
            ("holds a testnet already", format!("continue it with --resume, or {other}"))
        } else if entries.next().is_some() {
            ("is not empty and holds no whole testnet", format!("{other}, or empty this one"))
        } else {
            return Ok(());
        };
        Err(Failure::input(format!("{} {message}", dir.display())).hint(hint))
    }

    /// Makes a new folder.
    ///
    /// # Errors
    /// If `dir` holds something else, or cannot be written.
    pub fn create(dir: &Path, plan: Plan, foundation: &Foundation) -> Result<Self, Failure> {
        Self::is_free(dir)?;
        let turns = std::thread::available_parallelism().map_or(1, usize::from);
        Turns::create(&dir.join("turns"), turns).map_err(|error| cannot_write(dir, &error))?;
        let mut members = Vec::with_capacity(plan.nodes);
        for index in 0..plan.nodes {
            let home = Home::at(home_path(dir, index));
            home.create()?;
            members.push(home.create_key(node_seed(plan.seed, index))?);
        }
        let federation = federation(&plan, &members, foundation)?;
        for index in 0..plan.nodes {
            let home = home_path(dir, index);
            write(&home.join("federation.toml"), federation.to_toml().as_bytes())?;
            write(&home.join("node.toml"), settings(&plan, index).to_toml().as_bytes())?;
        }
        // Last: a folder that holds it is whole.
        write(&dir.join(PLAN), &serde_json::to_vec_pretty(&plan).expect("a plan is plain JSON"))?;
        Ok(Self { dir: dir.to_owned(), plan, members })
    }

    /// Opens a folder that an earlier run left.
    ///
    /// # Errors
    /// If there is none.
    pub fn open(dir: &Path) -> Result<Self, Failure> {
        let path = dir.join(PLAN);
        let not_ours = |error: &dyn std::fmt::Display| {
            Failure::input(format!("cannot read {}: {error}", path.display()))
                .hint("only a folder that `witan testnet` made can be resumed; name it with --dir")
        };
        let bytes = std::fs::read(&path).map_err(|error| not_ours(&error))?;
        let plan: Plan = serde_json::from_slice(&bytes).map_err(|error| not_ours(&error))?;
        let federation = Home::at(home_path(dir, 0)).read_federation()?;
        let members = federation.founders().members().iter().map(|member| member.key).collect();
        Ok(Self { dir: dir.to_owned(), plan, members })
    }

    /// The home of node `index`.
    pub fn home(&self, index: usize) -> PathBuf {
        home_path(&self.dir, index)
    }

    /// The command that continues this testnet.
    pub fn resume_command(&self) -> String {
        format!("{} testnet --resume --dir {}", shell::witan(), shell::word(&self.dir))
    }
}

fn federation(
    plan: &Plan,
    members: &[MemberId],
    foundation: &Foundation,
) -> Result<Federation, Failure> {
    let lora = plan.lora.of(foundation.lora());
    let member = |(index, key): (usize, &MemberId)| Member {
        name: format!("node-{index:02}"),
        key: *key,
        addresses: Vec::new(),
        weight: 1,
    };
    Federation::new(Document {
        name: "testnet".into(),
        seed: plan.seed,
        base: foundation.digest()?,
        tower: foundation.tower()?.map(|tower| tower.digest),
        bootstrap: Vec::new(),
        lora: Lora {
            rank: u32::try_from(lora.rank).map_err(Failure::usage)?,
            alpha: lora.alpha,
            dropout: lora.dropout,
            targets: lora.targets,
        },
        training: plan.training(),
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

fn settings(plan: &Plan, index: usize) -> Settings {
    Settings {
        listen: vec!["/ip4/127.0.0.1/tcp/0".into(), "/ip4/127.0.0.1/udp/0/quic-v1".into()],
        data: plan.data(index),
        threads: 1,
        // As seen from the home, so that the whole folder can be moved.
        turns: Some(PathBuf::from("../../turns")),
        model: plan.model.clone(),
        rank: None,
        device: plan.device,
    }
}

/// A testnet's keys come from its seed, so that the same command makes the same federation.
fn node_seed(seed: u64, index: usize) -> [u8; 32] {
    Digest::of_kind("witan testnet node key", format!("{seed}/{index}").as_bytes()).0
}

fn home_path(dir: &Path, index: usize) -> PathBuf {
    dir.join("nodes").join(format!("{index:02}"))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(|error| cannot_write(parent, &error))?;
    }
    std::fs::write(path, bytes).map_err(|error| cannot_write(path, &error))
}

fn cannot_write(path: &Path, error: &std::io::Error) -> Failure {
    Failure::environment(format!("cannot write {}: {error}", path.display()))
        .hint("choose with --dir a folder you can write to, on a disk with room")
}

fn one() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_one(number: &u32) -> bool {
    *number == 1
}

/// What says that a folder is a testnet's.
pub const PLAN: &str = "testnet.json";
/// Members of one machine take turns, so a round may take as long as all of them one by one.
const ROUND_DEADLINE_S: u64 = 300;
/// How long the first aggregator of a round has before the next takes its seat.
const VIEW_TIMEOUT_MS: u64 = 2000;
