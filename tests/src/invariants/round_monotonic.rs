//! A member's round never falls, not even over a restart; its view never falls within a round and a
//! life; what it lets others know of its round never falls either.

use std::collections::HashMap;

use witan_protocol::member::{Round, View};

use super::{Invariant, Observation, Scene};

/// Where each member is.
#[derive(Default)]
pub(super) struct RoundMonotonic {
    at: HashMap<usize, (Round, View)>,
}

impl Invariant for RoundMonotonic {
    fn name(&self) -> &'static str {
        "round_monotonic"
    }

    fn observe(&mut self, scene: &Scene<'_>, observation: &Observation<'_>) -> Result<(), String> {
        match observation {
            Observation::Started => {
                if let Some((_, view)) = self.at.get_mut(&scene.node) {
                    *view = View(0);
                }
                Ok(())
            }
            Observation::Settled { status, .. } => {
                let now = (status.round, status.view);
                let before = self.at.insert(scene.node, now).unwrap_or_default();
                if now < before {
                    return Err(format!("from {before:?} back to {now:?}"));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
