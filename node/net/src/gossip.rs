//! Messages for everyone: what is published, what is passed on, and what is not.
//!
//! Gossip is signed by its author and accepted from members only. It loses messages (slow peers,
//! peers that are not there yet); an own message is tried again while no peer takes it, and for
//! the rest the protocol's anti-entropy answers.

use std::collections::{HashSet, VecDeque};
use std::time::Instant;

use libp2p::PeerId;
use libp2p::gossipsub::{
    Behaviour, ConfigBuilder, IdentTopic, IdentityTransform, Message, MessageAuthenticity,
    MessageId, PeerScoreParams, PeerScoreThresholds, PublishError, TopicScoreParams,
    ValidationMode, WhitelistSubscriptionFilter,
};
use libp2p::identity::Keypair;
use witan_protocol::federation::FederationId;
use witan_protocol::member::MemberId;

use super::limits;
use super::roster::Roster;

/// Gossipsub with our one topic.
pub(crate) type Gossipsub = Behaviour<IdentityTransform, WhitelistSubscriptionFilter>;

/// Own messages on their way out.
#[derive(Debug)]
pub(crate) struct Gossip {
    topic: IdentTopic,
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    bytes: Vec<u8>,
    since: Instant,
}

/// The topic of a federation.
pub(crate) fn topic(federation: FederationId) -> IdentTopic {
    IdentTopic::new(format!("/witan/{federation}/1"))
}

/// Gossipsub for the member with this key, subscribed to the federation's topic.
pub(crate) fn behaviour(key: &Keypair, federation: FederationId) -> Result<Gossipsub, String> {
    let topic = topic(federation);
    let config = ConfigBuilder::default()
        .validation_mode(ValidationMode::Strict)
        .validate_messages()
        .flood_publish(false)
        .max_transmit_size(limits::GOSSIP_TRANSMIT_BYTES_MAX)
        .max_control_message_size(limits::GOSSIP_CONTROL_BYTES_MAX)
        .publish_queue_duration(limits::GOSSIP_QUEUE_TIME)
        .forward_queue_duration(limits::GOSSIP_QUEUE_TIME)
        .heartbeat_initial_delay(std::time::Duration::from_millis(500))
        .message_id_fn(message_id)
        .build()
        .map_err(|error| error.to_string())?;
    let filter = WhitelistSubscriptionFilter(HashSet::from([topic.hash()]));
    let mut gossipsub = Behaviour::new_with_subscription_filter(
        MessageAuthenticity::Signed(key.clone()),
        config,
        filter,
    )?;
    gossipsub.with_peer_score(score(&topic), PeerScoreThresholds::default())?;
    gossipsub.subscribe(&topic).map_err(|error| error.to_string())?;
    Ok(gossipsub)
}

/// Identical bytes are one message, whoever published them.
fn message_id(message: &Message) -> MessageId {
    let mut hasher = blake3::Hasher::new();
    hasher.update(message.topic.as_str().as_bytes()).update(&message.data);
    MessageId::new(&hasher.finalize().as_bytes()[..20])
}

/// Scoring that punishes what only a broken or hostile member does. Members that share an address
/// are no sign of anything, and at our message rates neither is delivering few of them.
fn score(topic: &IdentTopic) -> PeerScoreParams {
    let topic_score = TopicScoreParams {
        mesh_message_deliveries_weight: 0.0,
        mesh_failure_penalty_weight: 0.0,
        invalid_message_deliveries_weight: -10.0,
        invalid_message_deliveries_decay: 0.99,
        ..TopicScoreParams::default()
    };
    PeerScoreParams {
        ip_colocation_factor_weight: 0.0,
        behaviour_penalty_weight: -1.0,
        behaviour_penalty_threshold: 10.0,
        topics: [(topic.hash(), topic_score)].into(),
        ..PeerScoreParams::default()
    }
}

impl Gossip {
    /// Nothing published yet.
    pub(crate) fn new(federation: FederationId) -> Self {
        Self { topic: topic(federation), waiting: VecDeque::new() }
    }

    /// Publishes bytes, or keeps them until a peer is there. Bytes past the cap are a fault of
    /// the caller, and are dropped with an error in the log.
    pub(crate) fn publish(&mut self, gossipsub: &mut Gossipsub, bytes: Vec<u8>, now: Instant) {
        if bytes.len() > limits::GOSSIP_BYTES_MAX {
            tracing::error!(size = bytes.len(), "a message is too large for gossip");
            return;
        }
        if self.waiting.len() >= limits::GOSSIP_WAITING_MAX {
            self.waiting.pop_front();
        }
        self.waiting.push_back(Waiting { bytes, since: now });
        self.retry(gossipsub, now);
    }

    /// Publishes what waits, oldest first, as far as peers take it.
    pub(crate) fn retry(&mut self, gossipsub: &mut Gossipsub, now: Instant) {
        while let Some(first) = self.waiting.front() {
            let is_stale = now >= first.since + limits::GOSSIP_WAITING_TIME;
            match gossipsub.publish(self.topic.clone(), first.bytes.clone()) {
                Ok(_) | Err(PublishError::Duplicate) => {}
                Err(PublishError::NoPeersSubscribedToTopic | PublishError::AllQueuesFull(_)) => {
                    if !is_stale {
                        return;
                    }
                    tracing::debug!("no peer took a message for a minute");
                }
                Err(error) => tracing::error!(%error, "a message cannot be published"),
            }
            self.waiting.pop_front();
        }
    }
}

/// What to do with a message that `via` passed on.
pub(crate) fn judge(roster: &Roster, via: &PeerId, message: &Message) -> Judgement {
    let author = message.source.unwrap_or(*via);
    let is_members = author == roster.me || roster.member(&author).is_some();
    match roster.member(via) {
        None => Judgement::Reject("it passed on a message but is no member"),
        // A member that is a round ahead may know members that we do not know yet.
        Some(_) if !is_members => Judgement::Ignore,
        Some(_) if message.data.len() > limits::GOSSIP_BYTES_MAX => {
            Judgement::Reject("it passed on a message that is too large")
        }
        Some(via) => Judgement::Accept(via),
    }
}

/// The outcome of [`judge`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// Pass it on; a member handed it over.
    Accept(MemberId),
    /// Drop it; whoever passed it on may have good reason.
    Ignore,
    /// Drop it; whoever passed it on should have too.
    Reject(&'static str),
}
