//! Who was turned away and why, without letting anyone flood the log with it.
//!
//! Pure: time comes in by argument. The same refusal is reported once a window. Strangers, of whom
//! there may be any number, share an allowance; members, who are known, do not use it up.

use std::collections::BTreeMap;
use std::time::Instant;

use super::limits;

/// What was reported lately.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    reported: BTreeMap<(String, String), Instant>,
    window: Option<Instant>,
    strangers: usize,
    suppressed: u64,
}

/// Whose refusal it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Party {
    /// A member of the federation.
    Member,
    /// Anyone else.
    Stranger,
}

impl Refusals {
    /// Whether to report this refusal now.
    pub(crate) fn admit(&mut self, party: Party, peer: &str, reason: &str, now: Instant) -> bool {
        if self.window.is_none_or(|since| now >= since + limits::REFUSALS_WINDOW) {
            if self.suppressed > 0 {
                tracing::info!(count = self.suppressed, "further refusals in the last minute");
            }
            self.reported.retain(|_, at| now < *at + limits::REFUSALS_WINDOW);
            (self.window, self.strangers, self.suppressed) = (Some(now), 0, 0);
        }
        let key = (peer.to_owned(), reason.to_owned());
        let is_repeated =
            self.reported.get(&key).is_some_and(|at| now < *at + limits::REFUSALS_WINDOW);
        let is_excess = party == Party::Stranger && self.strangers >= limits::REFUSALS_MAX;
        if is_repeated || is_excess {
            self.suppressed += 1;
            return false;
        }
        if party == Party::Stranger {
            self.strangers += 1;
        }
        self.reported.insert(key, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_reported_once_a_window() {
        let (mut refusals, now) = (Refusals::default(), Instant::now());
        assert!(refusals.admit(Party::Member, "a", "x", now));
        assert!(!refusals.admit(Party::Member, "a", "x", now));
        assert!(refusals.admit(Party::Member, "a", "y", now));
        assert!(refusals.admit(Party::Member, "a", "x", now + limits::REFUSALS_WINDOW));
    }

    #[test]
    fn strangers_share_an_allowance_that_members_do_not_need() {
        let (mut refusals, now) = (Refusals::default(), Instant::now());
        let reported = (0..1000)
            .filter(|peer| refusals.admit(Party::Stranger, &peer.to_string(), "x", now))
            .count();
        assert_eq!(reported, limits::REFUSALS_MAX);
        assert!(refusals.admit(Party::Member, "a", "x", now));
        assert!(refusals.reported.len() <= limits::REFUSALS_MAX + 1);
    }
}
