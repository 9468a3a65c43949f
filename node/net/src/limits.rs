//! Every bound of the network, each with its reason.

use std::time::Duration;

/// Bytes of one gossip message: a signed header of a few kilobytes, or a proposal of 64 updates.
pub const GOSSIP_BYTES_MAX: usize = 48 * 1024;

/// The limit given to gossipsub itself. Its check counts bytes read ahead, so that back-to-back
/// messages of its own limit are lost in silence; eight times our cap keeps clear of that.
pub const GOSSIP_TRANSMIT_BYTES_MAX: usize = 384 * 1024;

/// Bytes of gossipsub's control messages in one frame; its default closes busy streams.
pub const GOSSIP_CONTROL_BYTES_MAX: usize = 64 * 1024;

/// How long a message may wait for a slow peer; the default of 1 s loses messages under load.
pub const GOSSIP_QUEUE_TIME: Duration = Duration::from_secs(60);

/// Own messages kept for peers that are not there yet; the oldest go first.
pub const GOSSIP_WAITING_MAX: usize = 256;

/// How long an own message waits for a first peer; after that, anti-entropy brings it.
pub const GOSSIP_WAITING_TIME: Duration = Duration::from_secs(60);

/// Bytes of one direct message: a certified record of 64 members with every vote.
pub const DIRECT_BYTES_MAX: usize = 256 * 1024;

/// Direct messages under way to one peer; more are lost, which the protocol allows.
pub const DIRECT_IN_FLIGHT_MAX: usize = 64;

/// Bytes of one chunk of a blob, asked or answered.
pub const CHUNK_BYTES_MAX: u32 = 1024 * 1024;

/// Bytes of a blob that is fetched at all; a reference to a larger one is nonsense or an attack.
pub const BLOB_BYTES_MAX: u64 = 4 << 30;

/// Chunks asked of one peer at once.
pub const CHUNKS_PER_PEER_MAX: usize = 2;

/// Blobs fetched at once; further ones wait.
pub const FETCHES_MAX: usize = 8;

/// Blobs fetched or waiting to be; further ones are lost and asked for again by the protocol.
pub const FETCHES_WAITING_MAX: usize = 256;

/// Passes over all holders without one new byte before a fetch gives up.
pub const FETCH_PASSES_MAX: u32 = 8;

/// The pause after a first fruitless pass; it doubles with each further one.
pub const FETCH_PAUSE: Duration = Duration::from_millis(50);

/// Chunks served at once in all; 16 MiB of memory.
pub const SERVED_MAX: usize = 16;

/// Chunks served to one peer at once.
pub const SERVED_PER_PEER_MAX: usize = 4;

/// How long a peer that finds us busy is asked to wait.
pub const BUSY_WAIT: Duration = Duration::from_millis(50);

/// The longest wait a peer can impose by saying that it is busy.
pub const BUSY_WAIT_MAX: Duration = Duration::from_secs(2);

/// A request without answer fails after this; 1 MiB takes 17 s at half a megabit a second.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Streams of one kind that one peer may have open with us.
pub const STREAMS_PER_PEER_MAX: usize = 64;

/// A handshake that takes longer is a stalled or hostile peer.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Inbound handshakes under way; the next is dropped. All members starting at once need 63.
pub const PENDING_INBOUND_MAX: u32 = 128;

/// Connections of one peer: one, a second from dialling each other at once, a stale one.
pub const CONNECTIONS_PER_PEER_MAX: u32 = 3;

/// A connection this old beside a new one is stale: the peer has restarted and forgot it. Two that
/// dial each other at once are through within [`SECOND_DIALER_DELAY`] and a handshake.
pub const STALE_AGE: Duration = Duration::from_secs(5);

/// Members stay connected; nothing is closed for being idle within a year.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 3600);

/// How often a connection is tried out, and how long an answer may take before it is closed. A
/// machine that trains on all cores answers within seconds.
pub const PING_INTERVAL: Duration = Duration::from_secs(15);
/// See [`PING_INTERVAL`].
pub const PING_TIMEOUT: Duration = Duration::from_secs(30);

/// How often the loop looks for dials and questions that are due.
pub const TICK: Duration = Duration::from_millis(100);

/// The first pause after a failed dial; it doubles up to [`REDIAL_PAUSE_MAX`].
pub const REDIAL_PAUSE: Duration = Duration::from_millis(250);

/// The longest pause between dials of one member.
pub const REDIAL_PAUSE_MAX: Duration = Duration::from_secs(30);

/// The pause after a member was refused: its federation file will not change in seconds.
pub const REFUSED_PAUSE: Duration = Duration::from_secs(30);

/// How long the one of a pair with the larger id leaves the first dial to the other.
pub const SECOND_DIALER_DELAY: Duration = Duration::from_millis(300);

/// How long a refused connection stays open, so that both sides can tell why.
pub const DISCONNECT_DELAY: Duration = Duration::from_secs(1);

/// Addresses of a member learned from others, besides those in the federation file.
pub const LEARNED_ADDRESSES_MAX: usize = 8;

/// The first pause between two questions to a bootstrap peer; doubles up to
/// [`DISCOVER_PAUSE_MAX`] while members are missing.
pub const DISCOVER_PAUSE: Duration = Duration::from_millis(250);

/// The longest pause between questions while members are missing.
pub const DISCOVER_PAUSE_MAX: Duration = Duration::from_secs(15);

/// The pause while all members are connected.
pub const DISCOVER_PAUSE_COMPLETE: Duration = Duration::from_secs(300);

/// How long a registration is trusted before it is renewed; the bootstrap peer keeps it 2 hours.
pub const REGISTRATION_TIME: Duration = Duration::from_secs(1800);

/// Commands that may wait for the network; more are lost.
pub const COMMANDS_MAX: usize = 4096;

/// Events that may wait for the driver in the channel.
pub const EVENTS_MAX: usize = 1024;

/// Events kept beyond the channel; past this, messages and refusals are lost, nothing else is.
pub const EVENTS_WAITING_MAX: usize = 4096;

/// Refusals of strangers reported within [`REFUSALS_WINDOW`]; more are only counted.
pub const REFUSALS_MAX: usize = 32;

/// The window of [`REFUSALS_MAX`], and how long the same refusal is not reported again.
pub const REFUSALS_WINDOW: Duration = Duration::from_secs(60);

/// How long [`super::NetHandle::shutdown`] waits for the network to end.
pub const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// The bounds of a rendezvous server alone.
pub mod rendezvous {
    use std::time::Duration;

    /// Connections in all: some 30 federations of 32 members that all ask at once.
    pub const ESTABLISHED_MAX: u32 = 1024;

    /// Connections of one peer: a live one, and stale ones of a restarted process.
    pub const PER_PEER_MAX: u32 = 4;

    /// A connection nobody asks anything on is closed; members come back when they want to ask.
    pub const IDLE_TIMEOUT: Duration = Duration::from_secs(120);

    /// Registrations in all, each at most a few hundred bytes.
    pub const REGISTRATIONS_MAX: usize = 4096;

    /// Federations one peer may register in.
    pub const REGISTRATIONS_PER_PEER_MAX: usize = 8;

    /// How long listening may take to begin before it is an error.
    pub const LISTEN_TIMEOUT: Duration = Duration::from_secs(10);
}
