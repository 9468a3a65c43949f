//! The outputs of a participant: signs, numbers jobs and queues. Must never reorder.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::federation::{Federation, Roster};
use crate::identity::Identity;
use crate::io::{Entry, JobId, Notice, Output};
use crate::member::{MemberId, Round};
use crate::wire::{Kind, Message, Verified, envelope};

/// The output queue of one member, with what it needs to sign and address messages.
#[derive(Debug)]
pub(crate) struct Outbox {
    /// The federation.
    pub federation: Arc<Federation>,
    /// The members of the current round.
    pub roster: Arc<Roster>,
    /// This member's key.
    pub identity: Identity,
    outputs: VecDeque<Output>,
    jobs: u64,
}

impl Outbox {
    /// An empty queue.
    pub(crate) fn new(
        federation: Arc<Federation>,
        roster: Arc<Roster>,
        identity: Identity,
    ) -> Self {
        Self { federation, roster, identity, outputs: VecDeque::new(), jobs: 0 }
    }

    /// This member.
    pub(crate) fn member(&self) -> MemberId {
        self.identity.member()
    }

    /// This member's place in the roster; none while it only watches.
    pub(crate) fn place(&self) -> Option<usize> {
        self.roster.place_of(&self.member())
    }

    /// The next output.
    pub(crate) fn pop(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// How many outputs are queued.
    pub(crate) fn queued(&self) -> usize {
        self.outputs.len()
    }

    /// A number for a new job.
    pub(crate) fn job(&mut self) -> JobId {
        self.jobs += 1;
        JobId(self.jobs)
    }

    /// Queues any output.
    pub(crate) fn push(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    /// Queues an event for people.
    pub(crate) fn notice(&mut self, notice: Notice) {
        self.push(Output::Notice(notice));
    }

    /// Queues an entry to be made durable before anything queued later.
    pub(crate) fn persist(&mut self, entry: Entry) {
        self.push(Output::Persist(entry));
    }

    /// Signs a message.
    pub(crate) fn seal(&self, message: &Message) -> Vec<u8> {
        envelope::seal(&self.identity, self.federation.id(), message)
    }

    /// The signature alone.
    pub(crate) fn sign(&self, message: &Message) -> [u8; 64] {
        envelope::sign(&self.identity, self.federation.id(), message)
    }

    /// Signs a message and sends it to every member.
    pub(crate) fn gossip(&mut self, message: &Message) {
        let bytes = self.seal(message);
        self.gossip_sealed(message.kind(), message.round(), bytes);
    }

    /// Sends a signed message to every member.
    pub(crate) fn gossip_signed(&mut self, signed: &Verified<Message>) {
        let bytes = envelope::reseal(signed.signer, &signed.message, &signed.signature);
        self.gossip_sealed(signed.message.kind(), signed.message.round(), bytes);
    }

    /// Sends an envelope to every member.
    pub(crate) fn gossip_sealed(&mut self, kind: Kind, round: Round, bytes: Vec<u8>) {
        self.notice_sent(kind, round, None, &bytes);
        self.push(Output::Gossip(bytes));
    }

    /// Signs a message and sends it to one member.
    pub(crate) fn send(&mut self, to: MemberId, message: &Message) {
        let bytes = self.seal(message);
        self.send_sealed(to, message.kind(), message.round(), bytes);
    }

    /// Sends an envelope to one member.
    pub(crate) fn send_sealed(&mut self, to: MemberId, kind: Kind, round: Round, bytes: Vec<u8>) {
        self.notice_sent(kind, round, Some(to), &bytes);
        self.push(Output::Send { to, bytes });
    }

    fn notice_sent(&mut self, kind: Kind, round: Round, to: Option<MemberId>, bytes: &[u8]) {
        let (digest, size_bytes) = (envelope::digest(bytes), bytes.len() as u64);
        self.notice(Notice::Sent { kind, round, to, digest, size_bytes });
    }
}
