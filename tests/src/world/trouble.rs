//! What goes wrong around the members, and right again.

use witan_protocol::io::Input;

use super::World;
use super::queue::Event;
use crate::coverage::Seen;
use crate::faults::{Fault, Point};
use crate::link::Cut;

impl World {
    /// Something goes wrong, or right again.
    pub(super) fn on_fault(&mut self, fault: Fault) {
        if self.is_verbose {
            println!("{:>7}           {fault:?}", self.now.0);
        }
        match fault {
            Fault::Cut(cut) => self.cut(cut),
            Fault::Reconnect => self.reconnect(),
            Fault::Crash { node, point: Point::Now, down_ms } => {
                if self.nodes[node].participant.is_some() {
                    self.coverage.saw(Seen::Crash);
                    self.die(node, down_ms);
                }
            }
            Fault::Crash { node, point, down_ms } => {
                self.nodes[node].doom = Some((point, down_ms));
            }
            Fault::Heal => self.heal(),
        }
    }

    /// Cuts members off.
    pub fn cut(&mut self, cut: Cut) {
        if cut.noticed {
            for (a, b) in self.across(&cut) {
                let (left, right) = (self.id(a), self.id(b));
                self.push(a, 100, Event::Input(Input::PeerDisconnected(right)));
                self.push(b, 100, Event::Input(Input::PeerDisconnected(left)));
            }
        }
        self.links.cut(cut);
    }

    /// Ends the oldest cut.
    pub fn reconnect(&mut self) {
        let Some(cut) = self.links.reconnect() else {
            return;
        };
        for (a, b) in self.across(&cut) {
            if self.are_connected(a, b) {
                self.connect(a, b);
            }
        }
    }

    /// Makes everything well but the liars, and holds the members to making progress.
    pub fn heal(&mut self) {
        while self.links.is_cut() {
            self.reconnect();
        }
        self.links.weather.loss_permille = 0;
        self.links.weather.late_permille = 0;
        self.links.weather.fail_permille = 0;
        for node in 0..self.nodes.len() {
            self.nodes[node].doom = None;
            self.start(node);
        }
        if !self.finished() {
            self.coverage.saw(Seen::HealedInTime);
        }
        self.watch.expect_progress(self.now);
    }

    /// Connects two members.
    pub(super) fn connect(&mut self, a: usize, b: usize) {
        let (left, right) = (self.id(a), self.id(b));
        self.push(a, 5, Event::Input(Input::PeerConnected(right)));
        self.push(b, 5, Event::Input(Input::PeerConnected(left)));
    }

    /// A member dies and comes back.
    pub(super) fn die(&mut self, node: usize, down_ms: u64) {
        self.crash(node);
        self.push(node, down_ms, Event::Start);
    }

    fn across(&self, cut: &Cut) -> Vec<(usize, usize)> {
        let size = self.nodes.len();
        let pairs = (0..size).flat_map(|a| (a + 1..size).map(move |b| (a, b)));
        pairs.filter(|(a, b)| cut.far[*a] != cut.far[*b]).collect()
    }
}
