//! What is said among members: handshake, gossip, direct messages and chunks of blobs, each event
//! taken to the value of a [`Service`] that decides about it.

use std::time::Instant;

use libp2p::PeerId;
use libp2p::gossipsub::{self, MessageAcceptance};
use libp2p::request_response::Message::{Request, Response};
use libp2p::request_response::{self, OutboundFailure};
use witan_protocol::member::MemberId;
use witan_protocol::wire::envelope::Opened;

use super::fetch::{Ask, Failure};
use super::fetching::Step as FetchStep;
use super::gossip::{self, Judgement};
use super::handshake::Verdict;
use super::refusals::Party;
use super::serve::Ready;
use super::service::Service;
use super::{Event, limits};

type Exchange = request_response::Event<Vec<u8>, Vec<u8>>;

impl Service {
    /// Sends bytes to a connected member; to another, they are lost.
    pub(super) fn send(&mut self, to: MemberId, bytes: Vec<u8>) {
        let Some(peer) = self.roster.peer(&to) else { return };
        if bytes.len() > limits::DIRECT_BYTES_MAX {
            tracing::error!(size = bytes.len(), "a direct message is too large");
            return;
        }
        let under_way = self.direct.entry(peer).or_default();
        if !self.handshakes.is_accepted(&peer) || *under_way >= limits::DIRECT_IN_FLIGHT_MAX {
            tracing::debug!(%peer, "a direct message is lost");
            return;
        }
        *under_way += 1;
        self.swarm.behaviour_mut().direct.send_request(&peer, bytes);
    }

    /// Lets the answer to a question about a blob leave.
    pub(super) fn answer(&mut self, ready: Ready) {
        let Ready { id, channel, bytes } = ready;
        if self.swarm.behaviour_mut().blob.send_response(channel, bytes).is_err() {
            self.server.on_done(id);
        }
    }

    /// Does what a fetch needs.
    pub(super) fn on_fetching(&mut self, step: FetchStep) {
        match step {
            FetchStep::Ask(Ask { peer, question, answer }) => {
                if self.handshakes.is_accepted(&peer) {
                    let blob = &mut self.swarm.behaviour_mut().blob;
                    let id = blob.send_request(&peer, question.encode());
                    self.fetching.on_asked(id, answer);
                }
            }
            FetchStep::Ended(blob, outcome) => {
                for liar in outcome.liars {
                    let reason = format!("it sent wrong bytes for blob {}", blob.digest);
                    self.refuse(Party::Member, self.name(&liar), reason);
                }
                match outcome.failure {
                    None => self.emit(Event::BlobStored(blob)),
                    Some(error @ Failure::Store(_)) => tracing::error!(%error, "not fetched"),
                    Some(error) => tracing::debug!(%error, "not fetched"),
                }
            }
        }
    }

    pub(super) fn on_hello(&mut self, event: Exchange) {
        let (peer, bytes) = match event {
            Exchange::Message { peer, message: Request { request, channel, .. }, .. } => {
                let mine = self.handshakes.hello();
                // An error says that the peer is gone already.
                let _ = self.swarm.behaviour_mut().hello.send_response(channel, mine);
                (peer, request)
            }
            Exchange::Message { peer, message: Response { response, .. }, .. } => (peer, response),
            Exchange::OutboundFailure { peer, error, .. } => {
                self.on_no_hello(peer, &error);
                return;
            }
            Exchange::InboundFailure { .. } | Exchange::ResponseSent { .. } => return,
        };
        let Some(member) = self.roster.member(&peer) else { return };
        match self.handshakes.on_hello(peer, &bytes) {
            Verdict::Repeated => {}
            Verdict::Accepted => {
                self.dialer.on_handshake(&peer);
                self.emit(Event::Connected(member));
            }
            Verdict::Mismatch(reason) => {
                self.leaving.insert(peer, Instant::now() + limits::DISCONNECT_DELAY);
                self.refuse_member(&member, reason);
            }
        }
    }

    fn on_no_hello(&mut self, peer: PeerId, error: &OutboundFailure) {
        use OutboundFailure::{ConnectionClosed, DialFailure};
        let is_gone = matches!(error, ConnectionClosed | DialFailure);
        if is_gone || self.handshakes.is_accepted(&peer) {
            return;
        }
        if let Some(member) = self.roster.member(&peer) {
            self.leaving.insert(peer, Instant::now());
            self.refuse_member(&member, format!("its handshake failed: {error}"));
        }
    }

    pub(super) fn on_gossip(&mut self, event: gossipsub::Event) {
        match event {
            gossipsub::Event::Message { propagation_source: via, message_id, message } => {
                let acceptance = match gossip::judge(&self.roster, &via, &message) {
                    Judgement::Accept(via) => {
                        self.receive(via, message.data);
                        MessageAcceptance::Accept
                    }
                    Judgement::Ignore => MessageAcceptance::Ignore,
                    Judgement::Reject(reason) => {
                        self.refuse(Party::Member, self.name(&via), reason.to_owned());
                        MessageAcceptance::Reject
                    }
                };
                let gossipsub = &mut self.swarm.behaviour_mut().gossip;
                gossipsub.report_message_validation_result(&message_id, &via, acceptance);
            }
            gossipsub::Event::Subscribed { .. } => {
                let gossipsub = &mut self.swarm.behaviour_mut().gossip;
                self.gossip.retry(gossipsub, Instant::now());
            }
            gossipsub::Event::SlowPeer { peer_id, failed_messages } => {
                tracing::debug!(%peer_id, ?failed_messages, "gossip is lost to a slow peer");
            }
            _ => {}
        }
    }

    /// Opens an envelope and reports it.
    fn receive(&mut self, via: MemberId, bytes: Vec<u8>) {
        let opened = Box::new(Opened::new(bytes, self.federation.id()));
        self.emit(Event::Message { via, opened });
    }

    pub(super) fn on_direct(&mut self, event: Exchange) {
        match event {
            Exchange::Message { peer, message: Request { request, channel, .. }, .. } => {
                let Some(via) = self.roster.member(&peer) else { return };
                // An error says that the peer is gone already.
                let _ = self.swarm.behaviour_mut().direct.send_response(channel, Vec::new());
                self.receive(via, request);
            }
            Exchange::Message { peer, message: Response { .. }, .. } => {
                self.on_direct_done(&peer);
            }
            Exchange::OutboundFailure { peer, error, .. } => {
                tracing::debug!(%peer, %error, "a direct message may be lost");
                self.on_direct_done(&peer);
            }
            Exchange::InboundFailure { .. } | Exchange::ResponseSent { .. } => {}
        }
    }

    fn on_direct_done(&mut self, peer: &PeerId) {
        if let Some(under_way) = self.direct.get_mut(peer) {
            *under_way = under_way.saturating_sub(1);
        }
    }

    pub(super) fn on_blob(&mut self, event: Exchange) {
        match event {
            Exchange::Message {
                peer, message: Request { request_id, request, channel }, ..
            } => {
                if self.roster.member(&peer).is_none() {
                    return;
                }
                let ready = self.server.on_question(peer, request_id, &request, channel);
                if let Some(ready) = ready {
                    self.answer(ready);
                }
            }
            Exchange::Message { message: Response { request_id, response }, .. } => {
                self.fetching.on_answer(request_id, response);
            }
            Exchange::OutboundFailure { request_id, peer, error, .. } => {
                tracing::debug!(%peer, %error, "no answer about a blob");
                self.fetching.on_failed(request_id);
            }
            Exchange::InboundFailure { request_id, .. }
            | Exchange::ResponseSent { request_id, .. } => {
                self.server.on_done(request_id);
            }
        }
    }
}
