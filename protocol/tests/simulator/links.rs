//! Who talks to whom in a simulated federation, and who lies about what it said.

use std::sync::Arc;

use witan_protocol::Roster;
use witan_protocol::digest::{BlobRef, Digest};
use witan_protocol::envelope;
use witan_protocol::io::Input;
use witan_protocol::message::Message;

use super::{Event, Node, World};

impl World {
    /// Adds a node of somebody who is no member yet; it is started like any other.
    pub fn join(&mut self) -> usize {
        let node = Node::new(self.nodes.len(), self.start, self.federation.founders());
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    /// What a node's people do.
    pub fn ask(&mut self, node: usize, input: Input) {
        let now = self.now;
        self.nodes[node].participant.as_mut().expect("a running node").handle(now, input);
        self.drain(node);
    }

    /// Both run, and each is in the roster of the other.
    pub fn are_connected(&self, one: usize, other: usize) -> bool {
        let knows = |one: usize, other: usize| self.nodes[one].roster.contains(&self.id(other));
        let runs = |node: usize| self.nodes[node].participant.is_some();
        runs(one) && runs(other) && knows(one, other) && knows(other, one)
    }

    pub fn connect(&mut self, one: usize, other: usize) {
        let (me, them) = (self.id(one), self.id(other));
        self.push(one, 5, Event::Input(Input::PeerConnected(them)));
        self.push(other, 5, Event::Input(Input::PeerConnected(me)));
    }

    /// A node's roster changed: connections follow.
    pub fn follow(&mut self, node: usize, roster: Arc<Roster>) {
        let others: Vec<_> = (0..self.nodes.len()).filter(|other| *other != node).collect();
        let before: Vec<_> = others.iter().map(|other| self.are_connected(node, *other)).collect();
        self.nodes[node].roster = roster;
        for (other, before) in others.into_iter().zip(before) {
            let now = self.are_connected(node, other);
            if now && !before {
                self.connect(node, other);
            } else if before && !now {
                let (me, them) = (self.id(node), self.id(other));
                self.push(node, 10, Event::Input(Input::PeerDisconnected(them)));
                self.push(other, 10, Event::Input(Input::PeerDisconnected(me)));
            }
        }
    }

    /// No node ever says two different things under one vote, whatever it went through.
    pub fn watch(&mut self, node: usize, bytes: &[u8]) {
        let opened =
            envelope::open(bytes, &self.nodes[node].roster).expect("nodes send what opens");
        let key = match opened.message {
            Message::Vote(vote) => {
                let key = (vote.round, vote.view.0, vote.step);
                let before = self.nodes[node].votes.insert(key, vote.value);
                assert!(
                    before.is_none_or(|before| before == vote.value),
                    "node {node} voted twice"
                );
                return;
            }
            Message::Update(update) => (update.round, None),
            Message::Motion(motion) => (motion.proposal.round, Some(motion.view)),
            _ => return,
        };
        let digest = envelope::digest(bytes);
        let before = self.nodes[node].said.insert(key, digest);
        assert!(
            before.is_none_or(|before| before == digest),
            "node {node} said two things: {key:?}"
        );
    }

    /// What a member that equivocates tells every second member besides.
    pub fn twist(&self, node: usize, bytes: &[u8]) -> Option<Vec<u8>> {
        let node = &self.nodes[node];
        let mut message = envelope::open(bytes, &node.roster).ok()?.message;
        if node.equivocates != Some(message.kind()) {
            return None;
        }
        match &mut message {
            Message::Vote(vote) => vote.value = vote.value.xor(Some(Digest([0; 32]))),
            Message::Update(update) => update.examples += 1,
            Message::Motion(motion) => motion.proposal.result = BlobRef::of(b"another"),
            _ => return None,
        }
        Some(envelope::seal(&node.identity, self.federation.id(), &message))
    }
}
