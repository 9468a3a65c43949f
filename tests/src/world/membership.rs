//! Who is a member, as each member has it: connections follow the roster in force.

use std::sync::Arc;

use witan_protocol::Roster;
use witan_protocol::io::Input;
use witan_protocol::ledger::{self, Audited};

use super::queue::Event;
use super::{Node, World, identity};
use crate::model;

impl World {
    /// Adds somebody who is no member yet, and does not run.
    pub fn join(&mut self) -> usize {
        let newcomer = Node::new(identity(self.nodes.len()), self.federation.founders());
        self.nodes.push(newcomer);
        self.links.grow();
        self.nodes.len() - 1
    }

    /// What a running member's people do.
    pub fn ask(&mut self, node: usize, input: Input) {
        let now = self.now;
        let participant = self.nodes[node].participant.as_mut();
        participant.expect("only those who run are asked").handle(now, input);
        self.drain(node);
    }

    /// A ledger, checked as an auditor would.
    ///
    /// # Panics
    /// If it does not hold.
    #[track_caller]
    pub fn audited(&self, node: usize) -> Vec<Audited> {
        let records = self.nodes[node].records.iter().map(Vec::as_slice);
        ledger::audit(&self.federation, model::start(), records).expect("what was persisted holds")
    }

    /// Checks that every ledger holds and is the beginning of the longest.
    ///
    /// # Panics
    /// If it is not so.
    #[track_caller]
    pub fn check(&self) {
        let chains: Vec<_> = (0..self.nodes.len()).map(|node| self.audited(node)).collect();
        let longest = chains.iter().max_by_key(|chain| chain.len()).expect("somebody is there");
        for (node, chain) in chains.iter().enumerate() {
            for (ours, theirs) in chain.iter().zip(longest) {
                let (ours, theirs) = (ours.record.digest(), theirs.record.digest());
                assert_eq!(ours, theirs, "member {node}: two records of one round");
            }
        }
    }

    /// Whether each is in the roster of the other.
    pub(super) fn know_each_other(&self, one: usize, other: usize) -> bool {
        let knows = |one: usize, other: usize| self.nodes[one].roster.contains(&self.id(other));
        knows(one, other) && knows(other, one)
    }

    /// Whether both run, know and reach each other.
    pub(super) fn are_connected(&self, one: usize, other: usize) -> bool {
        let runs = |node: usize| self.nodes[node].participant.is_some();
        let reaches = |one, other| self.links.passes(one, other);
        runs(one)
            && runs(other)
            && self.know_each_other(one, other)
            && reaches(one, other)
            && reaches(other, one)
    }

    /// A member's roster changed: its connections follow.
    pub(super) fn follow(&mut self, node: usize, roster: Arc<Roster>) {
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
}
