//! How fast a training goes and how long it will take, from what was seen of it: never from what
//! was planned, which is more where the data lack questions or captions.

/// What was seen of a training since somebody began to look.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Pace {
    /// How long that is.
    pub seconds: f64,
    /// Steps done in it.
    pub steps: u64,
    /// Questions and captions drawn in it.
    pub examples: u64,
}

impl Pace {
    /// Samples a second.
    pub(crate) fn rate(&self) -> f64 {
        self.examples as f64 / self.seconds.max(SECONDS_MIN)
    }

    /// Seconds that so many more steps take; none before a step was seen.
    pub(crate) fn left_s(&self, steps: u64) -> Option<f64> {
        (self.steps > 0).then(|| self.seconds / self.steps as f64 * steps as f64)
    }
}

/// Below it a clock says nothing.
const SECONDS_MIN: f64 = 1e-3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_is_of_what_was_seen() {
        let pace = Pace { seconds: 2.0, steps: 4, examples: 48 };
        assert_eq!(pace.rate(), 24.0);
        assert_eq!(pace.left_s(6), Some(3.0));
        let none = Pace { seconds: 0.0, steps: 0, examples: 0 };
        assert_eq!((none.rate(), none.left_s(6)), (0.0, None));
    }
}
