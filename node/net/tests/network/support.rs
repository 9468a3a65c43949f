//! A few members in one process, each with a network of its own.

use std::collections::VecDeque;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use witan_files::Blobs;
use witan_net::rendezvous::Server;
use witan_net::{self as net, Event, NetHandle, NetSettings};
use witan_protocol::federation::Federation;
use witan_protocol::identity::Identity;
use witan_protocol::member::MemberId;

/// No wait of these tests is longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The member with this seed.
pub(crate) fn member(seed: u8) -> MemberId {
    Identity::from_seed([seed; 32]).member()
}

/// What tests vary in a federation file.
#[derive(Clone, Default)]
pub(crate) struct Plan {
    /// Seeds of the members; each is called `member-<seed>`.
    pub members: Vec<u8>,
    /// Listed addresses, by seed.
    pub addresses: Vec<(u8, String)>,
    /// Bootstrap peers.
    pub bootstrap: Vec<String>,
    /// The adapter's rank; 8 if zero.
    pub rank: u32,
}

impl Plan {
    /// The federation it describes.
    pub(crate) fn federation(&self) -> Arc<Federation> {
        let rank = if self.rank == 0 { 8 } else { self.rank };
        let mut text = format!(
            "name = \"test\"\nseed = 1\nbase = \"{}\"\nbootstrap = {:?}\n\
             [lora]\nrank = {rank}\nalpha = 16.0\ndropout = 0.0\ntargets = [\"q\"]\n\
             [training]\nrounds = 2\nlocal_steps = 2\nbatch_questions = 2\nbatch_captions = 2\n\
             learning_rate = 0.001\nlearning_rate_final = 0.001\nweight_decay = 0.0\n\
             strategy = \"fedavg\"\n\
             [council]\nfault_model = \"byzantine\"\nround_deadline_s = 60\n",
            "09".repeat(32),
            self.bootstrap
        );
        for seed in &self.members {
            let listed = self.addresses.iter().filter(|(of, _)| of == seed);
            let addresses: Vec<_> = listed.map(|(_, address)| address).collect();
            let key = member(*seed);
            writeln!(
                text,
                "[[members]]\nname = \"member-{seed:02}\"\nkey = \"{key}\"\n\
                 addresses = {addresses:?}"
            )
            .unwrap();
        }
        Arc::new(Federation::from_toml(&text).unwrap())
    }

    /// Starts the member with this seed.
    pub(crate) async fn start(&self, seed: u8) -> Node {
        self.start_on(seed, "/ip4/127.0.0.1/tcp/0").await
    }

    /// Starts the member with this seed on an address.
    pub(crate) async fn start_on(&self, seed: u8, listen: &str) -> Node {
        let dir = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(dir.path()).unwrap();
        let settings = NetSettings {
            seed: [seed; 32],
            federation: self.federation(),
            listen: vec![listen.to_owned()],
            bootstrap: Vec::new(),
            blobs: blobs.clone(),
        };
        let (net, events) = net::start(settings).unwrap();
        let id = member(seed);
        let mut node =
            Node { id, net, blobs, address: String::new(), events, seen: VecDeque::new(), dir };
        node.address = node
            .until("listening", |event| match event {
                Event::Listening(address) => Some(address.clone()),
                _ => None,
            })
            .await;
        node
    }
}

/// One running member.
pub(crate) struct Node {
    /// Who it is.
    pub id: MemberId,
    /// Its network.
    pub net: NetHandle,
    /// Its blobs.
    pub blobs: Blobs,
    /// Where it listens.
    pub address: String,
    events: mpsc::Receiver<Event>,
    seen: VecDeque<Event>,
    dir: tempfile::TempDir,
}

impl Node {
    /// The first event, seen before or to come, of which `pick` makes something.
    pub(crate) async fn until<T>(&mut self, what: &str, pick: impl Fn(&Event) -> Option<T>) -> T {
        for index in 0..self.seen.len() {
            if let Some(picked) = pick(&self.seen[index]) {
                self.seen.remove(index);
                return picked;
            }
        }
        let seen = &mut self.seen;
        let events = &mut self.events;
        let found = timeout(PATIENCE, async move {
            loop {
                let event = events.recv().await.expect("the network runs");
                if let Some(picked) = pick(&event) {
                    return picked;
                }
                seen.push_back(event);
            }
        });
        match found.await {
            Ok(picked) => picked,
            Err(_) => panic!("{:?} waited too long for {what}; it saw {:?}", self.id, self.seen),
        }
    }

    /// Waits until `count` other members are connected.
    pub(crate) async fn connected(&mut self, count: usize) {
        while self.net.traffic().peers < count {
            let next = timeout(PATIENCE, self.events.recv()).await;
            let Ok(Some(event)) = next else {
                panic!("{:?} reaches {} of {count}", self.id, self.net.traffic().peers)
            };
            self.seen.push_back(event);
        }
    }

    /// Waits for a message with these bytes; returns who handed it over.
    pub(crate) async fn message(&mut self, expected: &[u8]) -> MemberId {
        let what = format!("a message of {} bytes", expected.len());
        self.until(&what, |event| match event {
            Event::Message { via, opened } if opened.bytes() == expected => Some(*via),
            _ => None,
        })
        .await
    }

    /// Waits for a refusal whose reason holds `part`; returns who was refused, and why.
    pub(crate) async fn refusal(&mut self, part: &str) -> Refusal {
        self.until(&format!("a refusal with {part:?}"), |event| match event {
            Event::PeerRefused { peer, reason } if reason.contains(part) => {
                Some(Refusal { peer: peer.clone(), reason: reason.clone() })
            }
            _ => None,
        })
        .await
    }

    /// Ends the network; gives back the folder, so that it outlives the node.
    pub(crate) async fn stop(self) -> tempfile::TempDir {
        self.net.shutdown().await;
        self.dir
    }
}

/// What [`Event::PeerRefused`] said.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// Who.
    pub peer: String,
    /// Why.
    pub reason: String,
}

/// A bootstrap peer that runs until it is dropped.
pub(crate) struct Bootstrap {
    /// Where it listens.
    pub address: String,
    _stop: oneshot::Sender<()>,
}

impl Bootstrap {
    /// Starts one.
    pub(crate) async fn start() -> Self {
        let listen = ["/ip4/127.0.0.1/tcp/0".to_owned()];
        let server = Server::start([200; 32], &listen).await.unwrap();
        let address = server.addresses().remove(0);
        let (stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(server.serve(async move {
            let _ = stopped.await;
        }));
        Self { address, _stop: stop }
    }
}

/// Starts these members with one bootstrap peer and waits until all are connected to all.
pub(crate) async fn mesh(seeds: impl IntoIterator<Item = u8>) -> Mesh {
    let bootstrap = Bootstrap::start().await;
    let plan = Plan {
        members: seeds.into_iter().collect(),
        bootstrap: vec![bootstrap.address.clone()],
        ..Plan::default()
    };
    let mut nodes = Vec::new();
    for seed in &plan.members {
        nodes.push(plan.start(*seed).await);
    }
    for node in &mut nodes {
        node.connected(plan.members.len() - 1).await;
    }
    Mesh { nodes, _bootstrap: bootstrap }
}

/// Members that are all connected.
pub(crate) struct Mesh {
    /// In order of their seeds.
    pub nodes: Vec<Node>,
    _bootstrap: Bootstrap,
}
