//! The homes of a federation that nobody has run yet, each to be started alone as an institution
//! would.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use tempfile::TempDir;
use witan_lab::spec::{Cohort, Spec};
use witan_lab::testnet::homes::Homes;
use witan_model::trainable;

use crate::support::{Running, edit, finished, path, witan};

/// Four homes, and the bootstrap peer their members find each other through.
pub(crate) struct Council {
    _folder: TempDir,
    homes: Homes,
    _bootstrap: Running,
}

impl Council {
    /// Founds a federation of so many rounds of one step.
    pub(crate) fn of_rounds(rounds: u64) -> Self {
        // The other testnet first: two at once on two cores let views time out that should not.
        finished();
        let folder = tempfile::tempdir().unwrap();
        let (alpha, usual) = (None, Cohort::default());
        let cohort = Cohort { nodes: 4, rounds, alpha, local_steps: 1, ..usual };
        let spec = Spec { cohort, ..Spec::default() };
        let embedded = trainable::open(None).unwrap();
        let homes = Homes::create(&folder.path().join("council"), spec, &*embedded).unwrap();
        let home = folder.path().join("bootstrap");
        let listen = ["--stop-on-eof", "--listen", "/ip4/127.0.0.1/tcp/0"];
        let flags = [&["bootstrap", "--home", path(&home)][..], &listen].concat();
        let mut bootstrap = Running::start(&flags);
        let peer = format!("bootstrap = [{:?}]", bootstrap.until("/p2p/"));
        for index in 0..homes.spec.cohort.nodes {
            edit(&homes.home(index).join("federation.toml"), "bootstrap = []", &peer);
        }
        Self { _folder: folder, homes, _bootstrap: bootstrap }
    }

    /// The home of a member, or of one to come.
    pub(crate) fn home(&self, index: usize) -> PathBuf {
        self.homes.home(index)
    }

    /// A home with everything but a key and a history; the data are those of node 0.
    pub(crate) fn newcomer(&self, index: usize) -> PathBuf {
        let home = self.home(index);
        fs::create_dir_all(&home).unwrap();
        for file in ["federation.toml", "node.toml"] {
            fs::copy(self.home(0).join(file), home.join(file)).unwrap();
        }
        home
    }

    /// Starts these members.
    pub(crate) fn start(&self, members: impl IntoIterator<Item = usize>) -> Vec<Running> {
        members.into_iter().map(|index| Running::node(&self.home(index))).collect()
    }

    /// The rounds in the ledger of a home, as `witan rounds` tells them.
    pub(crate) fn rounds(&self, index: usize) -> Vec<Value> {
        let ended = witan(&["rounds", "--json", "--home", path(&self.home(index))]);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        ended.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Checks that the whole history of these homes holds.
    pub(crate) fn verify(&self, members: impl IntoIterator<Item = usize>) {
        for index in members {
            let ended = witan(&["verify", "--home", path(&self.home(index))]);
            assert_eq!(ended.code, Some(0), "{ended:?}");
        }
    }
}
