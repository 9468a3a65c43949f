//! The network's only loop: routes what libp2p reports and what the driver asks.
//!
//! No rule lives here. When to dial, whom to welcome, what to pass on and what to serve are decided
//! by the values it holds; this file carries their answers to libp2p and back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use futures::StreamExt;
use libp2p::swarm::{self, SwarmEvent};
use libp2p::{PeerId, Swarm};
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};
use witan_protocol::Roster as InForce;
use witan_protocol::federation::Federation;
use witan_protocol::member::MemberId;

use super::behaviour::Behaviour;
use super::dial::Dialer;
use super::discovery::Discovery;
use super::fetching::Fetching;
use super::gossip::Gossip;
use super::handshake::Handshakes;
use super::listen;
use super::outbox::Outbox;
use super::refusals::{Party, Refusals};
use super::roster::Roster;
use super::serve::{Ready, Server};
use super::transport::{self, Counters};
use super::{Command, Event, NetError, NetHandle, NetSettings, identity, limits};

/// Everything the network of one member holds.
pub(crate) struct Service {
    pub(super) swarm: Swarm<Behaviour>,
    pub(super) federation: Arc<Federation>,
    pub(super) roster: Roster,
    pub(super) dialer: Dialer,
    pub(super) discovery: Discovery,
    pub(super) handshakes: Handshakes,
    pub(super) gossip: Gossip,
    pub(super) server: Server,
    pub(super) ready: mpsc::Receiver<Ready>,
    pub(super) fetching: Fetching,
    /// Direct messages under way, by peer.
    pub(super) direct: BTreeMap<PeerId, usize>,
    /// Since when each peer is connected.
    pub(super) since: BTreeMap<PeerId, Instant>,
    /// Peers to be disconnected, and when.
    pub(super) leaving: BTreeMap<PeerId, Instant>,
    refusals: Refusals,
    outbox: Outbox,
    commands: mpsc::Receiver<Command>,
    in_force: watch::Receiver<Arc<InForce>>,
    counters: Arc<Counters>,
}

/// Starts the network on the current tokio runtime. Returns once every address is bound, so that a
/// port in use is an error here; [`Event::Listening`] follows for each.
pub fn start(settings: NetSettings) -> Result<(NetHandle, mpsc::Receiver<Event>), NetError> {
    let NetSettings { seed, federation, listen, bootstrap, blobs } = settings;
    blobs.sweep()?;
    let key = identity::keypair(seed);
    let me = key.public().to_peer_id();
    let my_id = identity::member_of(&me).expect("an ed25519 key is inlined in its peer id");
    let roster = Roster::new(&federation, my_id, &bootstrap)?;
    let behaviour = Behaviour::new(&key, federation.id(), &roster)?;
    let counters = Arc::<Counters>::default();
    let transport = transport::build(&key, &counters).map_err(NetError::Transport)?;
    let config =
        swarm::Config::with_tokio_executor().with_idle_connection_timeout(limits::IDLE_TIMEOUT);
    let mut swarm = Swarm::new(transport, behaviour, me, config);
    for address in &listen {
        listen::listen(&mut swarm, address)?;
    }
    for address in &roster.my_addresses {
        swarm.add_external_address(address.clone());
    }
    let (commands, to_do) = mpsc::channel(limits::COMMANDS_MAX);
    let (events, reported) = mpsc::channel(limits::EVENTS_MAX);
    let (follow, in_force) = watch::channel(Arc::clone(federation.founders()));
    let now = Instant::now();
    let (server, ready) = Server::new(blobs.clone());
    let service = Service {
        swarm,
        dialer: Dialer::new(&roster, now),
        discovery: Discovery::new(&roster, now),
        handshakes: Handshakes::new(&federation),
        gossip: Gossip::new(federation.id()),
        server,
        ready,
        fetching: Fetching::new(blobs, &roster),
        direct: BTreeMap::new(),
        since: BTreeMap::new(),
        leaving: BTreeMap::new(),
        refusals: Refusals::default(),
        outbox: Outbox::new(events),
        commands: to_do,
        in_force,
        counters: Arc::clone(&counters),
        federation,
        roster,
    };
    let task = tokio::spawn(service.run());
    Ok((NetHandle { commands, roster: follow, counters, task }, reported))
}

impl Service {
    /// Runs until the handle or the receiver of events is dropped.
    async fn run(mut self) {
        let mut ticks = interval(limits::TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = self.swarm.select_next_some() => self.on_swarm(event),
                command = self.commands.recv() => match command {
                    Some(command) => {
                        if self.in_force.has_changed().unwrap_or(false) {
                            self.follow();
                        }
                        self.on_command(command);
                    }
                    None => return,
                },
                Ok(()) = self.in_force.changed() => self.follow(),
                Some(ready) = self.ready.recv() => self.answer(ready),
                step = self.fetching.next() => self.on_fetching(step),
                is_delivered = self.outbox.deliver() => {
                    if !is_delivered {
                        return;
                    }
                }
                _ = ticks.tick() => self.on_tick(),
            }
        }
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Gossip(bytes) => {
                let gossipsub = &mut self.swarm.behaviour_mut().gossip;
                self.gossip.publish(gossipsub, bytes, Instant::now());
            }
            Command::Send { to, bytes } => self.send(to, bytes),
            Command::Fetch { blob, holders } => {
                let holders = holders.iter().filter_map(|id| self.roster.peer(id)).collect();
                self.fetching.start(blob, holders);
            }
        }
    }

    /// Other members are in force: whoever came is dialled, whoever left is let go after a moment
    /// in which the record that says so can reach it.
    fn follow(&mut self) {
        let in_force = Arc::clone(&self.in_force.borrow_and_update());
        let (next, now) = (self.roster.after(&in_force), Instant::now());
        let before = std::mem::replace(&mut self.roster, next);
        let left = before.peers().filter(|peer| self.roster.member(peer).is_none());
        for peer in left.collect::<Vec<_>>() {
            self.leaving.insert(peer, now + limits::DISCONNECT_DELAY);
            let member = before.member(&peer).filter(|_| self.handshakes.is_accepted(&peer));
            self.handshakes.on_closed(&peer);
            if let Some(member) = member {
                self.emit(Event::Disconnected(member));
            }
        }
        for peer in self.roster.peers().filter(|peer| before.member(peer).is_none()) {
            self.leaving.remove(&peer);
            self.swarm.behaviour_mut().allowed.allow_peer(peer);
        }
        self.dialer.follow(&self.roster, now);
        self.fetching.follow(&self.roster);
    }

    fn on_tick(&mut self) {
        let now = Instant::now();
        self.gossip.retry(&mut self.swarm.behaviour_mut().gossip, now);
        self.dial_due(now);
        self.ask_due(now);
        let due: Vec<_> =
            self.leaving.iter().filter(|(_, at)| **at <= now).map(|(peer, _)| *peer).collect();
        for peer in due {
            self.leaving.remove(&peer);
            if !self.roster.allowed().contains(&peer) {
                self.swarm.behaviour_mut().allowed.disallow_peer(peer);
            }
            // An error says that the peer is gone already.
            let _ = self.swarm.disconnect_peer_id(peer);
        }
    }

    fn on_swarm(&mut self, event: SwarmEvent<super::behaviour::BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour(event),
            other => self.on_connection(other),
        }
    }

    /// Reports something to the driver.
    pub(super) fn emit(&mut self, event: Event) {
        match event {
            Event::Connected(_) => self.counters.peers.fetch_add(1, Ordering::Relaxed),
            Event::Disconnected(_) => self.counters.peers.fetch_sub(1, Ordering::Relaxed),
            _ => 0,
        };
        self.outbox.push(event);
    }

    /// Reports to the driver whom this node turned away, unless it was reported lately.
    pub(super) fn refuse(&mut self, party: Party, peer: String, reason: String) {
        if self.refusals.admit(party, &peer, &reason, Instant::now()) {
            tracing::info!(peer, reason, "refused");
            self.emit(Event::PeerRefused { peer, reason });
        }
    }

    /// [`Service::refuse`] for a member, by its name.
    pub(super) fn refuse_member(&mut self, member: &MemberId, reason: String) {
        self.refuse(Party::Member, self.roster.name_of(member), reason);
    }
}
