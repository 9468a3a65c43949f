//! Events on their way to the driver, in order.
//!
//! The network never waits for the driver: were it to, every peer would wait with it. What says
//! where things stand is kept, and is bounded by the roster; messages and refusals are lost past a
//! bound, as they may be lost on the wire.

use std::collections::VecDeque;

use tokio::sync::mpsc;

use super::Event;
use super::limits;

/// The queue before the driver's channel.
#[derive(Debug)]
pub(crate) struct Outbox {
    waiting: VecDeque<Event>,
    channel: mpsc::Sender<Event>,
    lost: u64,
}

impl Outbox {
    /// An empty queue before `channel`.
    pub(crate) fn new(channel: mpsc::Sender<Event>) -> Self {
        Self { waiting: VecDeque::new(), channel, lost: 0 }
    }

    /// Queues an event.
    pub(crate) fn push(&mut self, event: Event) {
        let may_be_lost = matches!(event, Event::Message { .. } | Event::PeerRefused { .. });
        if may_be_lost && self.waiting.len() >= limits::EVENTS_WAITING_MAX {
            self.lost += 1;
            if self.lost.is_power_of_two() {
                tracing::warn!(lost = self.lost, "the driver is slow: messages are lost");
            }
            return;
        }
        self.waiting.push_back(event);
    }

    /// Hands over one event once there is room; waits for ever when there is none to hand over.
    /// False once the driver is gone. Nothing is lost if this is dropped while it waits.
    pub(crate) async fn deliver(&mut self) -> bool {
        if self.waiting.is_empty() {
            self.channel.closed().await;
            return false;
        }
        let Ok(room) = self.channel.reserve().await else { return false };
        if let Some(event) = self.waiting.pop_front() {
            room.send(event);
        }
        true
    }
}
