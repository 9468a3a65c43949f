//! What happens when: one queue in virtual time. Events of one moment happen in the order planned.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::rc::Rc;

use witan_protocol::digest::BlobRef;
use witan_protocol::io::{Input, Time};
use witan_protocol::member::MemberId;

use crate::faults::Fault;
use witan_protocol::wire::envelope::Opened;

/// Something that happens.
pub(super) enum Event {
    /// To a member: an input.
    Input(Input),
    /// To a member: a message arrives.
    Message {
        /// Who hands it over.
        via: MemberId,
        /// Its envelope.
        opened: Rc<Opened>,
    },
    /// To a member: a blob it fetched is stored.
    Blob(BlobRef),
    /// To a member: it may be time.
    Wake,
    /// To a member: it is started.
    Start,
    /// To the world.
    Fault(Fault),
}

/// An event whose time has come.
pub(super) struct Due {
    /// When.
    pub at: Time,
    /// To whom, and in which of its lives.
    pub whose: Option<(usize, u64)>,
    /// What.
    pub event: Event,
    order: u64,
}

/// Everything that is going to happen.
#[derive(Default)]
pub(super) struct EventQueue {
    queue: BinaryHeap<Reverse<Due>>,
    planned: u64,
}

impl EventQueue {
    /// Plans an event.
    pub(super) fn push(&mut self, at: Time, whose: Option<(usize, u64)>, event: Event) {
        self.planned += 1;
        self.queue.push(Reverse(Due { at, whose, event, order: self.planned }));
    }

    /// The next event, if its time is not after `until`.
    pub(super) fn pop(&mut self, until: Time) -> Option<Due> {
        if self.queue.peek().is_none_or(|Reverse(due)| due.at > until) {
            return None;
        }
        self.queue.pop().map(|Reverse(due)| due)
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Due {}
