//! The network of one member: connections to all others, gossip, direct messages and blobs.
//!
//! Decides who is connected (members whose handshake matched). It opens the envelopes that arrive,
//! so that signatures are checked beside the driver's loop, and decides nothing by their messages.
//! One task owns libp2p; callers hold a [`NetHandle`] and a channel of [`Event`]s. Only this folder
//! says libp2p. Gossip and direct messages may be lost, and the protocol's anti-entropy must make
//! up for it; a blob is fetched until it is there or no holder is. Everything is bounded, in
//! [`limits`].

mod behaviour;
mod chunk;
mod dial;
mod discovery;
mod error;
mod exchange;
mod fetch;
mod fetching;
mod frames;
mod gossip;
mod handshake;
mod identity;
pub mod limits;
mod listen;
mod outbox;
mod refusals;
pub mod rendezvous;
mod roster;
mod routes;
mod serve;
mod service;
mod transport;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use witan_files::Blobs;
use witan_protocol::Roster;
use witan_protocol::digest::BlobRef;
use witan_protocol::federation::Federation;
use witan_protocol::member::MemberId;
use witan_protocol::wire::envelope::Opened;

pub use error::NetError;
pub use roster::is_address;
pub use service::start;
use transport::Counters;

/// What the network needs to know.
#[derive(Clone)]
pub struct NetSettings {
    /// The secret seed of this node's key.
    pub seed: [u8; 32],
    /// Who takes part, where they may be reached, and which bootstrap peers to ask.
    pub federation: Arc<Federation>,
    /// Multiaddresses to listen on, such as `/ip4/0.0.0.0/tcp/4001`; port 0 lets the system choose.
    pub listen: Vec<String>,
    /// Bootstrap peers to ask besides the federation's, each with its peer id.
    pub bootstrap: Vec<String>,
    /// Where blobs are served from and fetched to.
    pub blobs: Blobs,
}

/// What the network is asked to do once. Any of it may be lost on the way, and the protocol asks
/// again.
#[derive(Clone, Debug)]
pub enum Command {
    /// Give these bytes to every member; at most [`limits::GOSSIP_BYTES_MAX`].
    Gossip(Vec<u8>),
    /// Give these bytes to one member, if it is connected; at most [`limits::DIRECT_BYTES_MAX`].
    Send {
        /// To whom.
        to: MemberId,
        /// What.
        bytes: Vec<u8>,
    },
    /// Fetch a blob; [`Event::BlobStored`] follows, at once if it is here. Asking again while it
    /// is under way adds holders. When no holder delivers, nothing follows: ask again.
    Fetch {
        /// Which.
        blob: BlobRef,
        /// Who is known to have it, nearest guess first.
        holders: Vec<MemberId>,
    },
}

/// What the network reports.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// This node listens on the multiaddress, given with its peer id.
    Listening(String),
    /// A member is connected and its handshake matched.
    Connected(MemberId),
    /// The last connection to a member closed; dialling goes on.
    Disconnected(MemberId),
    /// An envelope from gossip or a direct message. Opened here, so that the driver's loop does not
    /// check signatures.
    Message {
        /// The member that handed it over, not necessarily its signer.
        via: MemberId,
        /// The envelope with its message, or with why it is refused.
        opened: Box<Opened>,
    },
    /// A blob is stored and durable: its bytes have this digest and this number.
    BlobStored(BlobRef),
    /// Someone was turned away, or did what no member does.
    PeerRefused {
        /// A member's name, a key, or an address.
        peer: String,
        /// Why, in one line.
        reason: String,
    },
}

/// What passed over the network so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes received on all streams.
    pub bytes_in: u64,
    /// Bytes sent on all streams.
    pub bytes_out: u64,
    /// Members connected now.
    pub peers: usize,
}

/// The way to a running network. Dropping it ends the network.
#[derive(Debug)]
pub struct NetHandle {
    /// Where [`NetHandle::send`] puts what it is given.
    pub commands: mpsc::Sender<Command>,
    roster: watch::Sender<Arc<Roster>>,
    counters: Arc<Counters>,
    task: JoinHandle<()>,
}

impl NetHandle {
    /// Asks for something; never waits. Lost, with a warning, if [`limits::COMMANDS_MAX`] wait.
    pub fn send(&self, command: Command) {
        if self.commands.try_send(command).is_err() {
            tracing::warn!("the network does not keep up: a command is lost");
        }
    }

    /// Keeps connections with these members and no others, from now on and before any later
    /// command. Never lost: only the newest roster counts.
    pub fn follow(&self, roster: Arc<Roster>) {
        self.roster.send_replace(roster);
    }

    /// What passed over the network so far.
    pub fn traffic(&self) -> Traffic {
        Traffic {
            bytes_in: self.counters.bytes_in.load(Ordering::Relaxed),
            bytes_out: self.counters.bytes_out.load(Ordering::Relaxed),
            peers: self.counters.peers.load(Ordering::Relaxed),
        }
    }

    /// Closes every connection and waits, for a bounded time, until that is done.
    pub async fn shutdown(self) {
        drop(self.commands);
        let stop = self.task.abort_handle();
        if tokio::time::timeout(limits::SHUTDOWN_TIMEOUT, self.task).await.is_err() {
            tracing::warn!("the network did not end in time");
            stop.abort();
        }
    }
}
