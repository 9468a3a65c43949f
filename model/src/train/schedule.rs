//! The step size over a whole training, of which a member's round is a part.
//!
//! Half a cosine without restarts, equation (5) of Loshchilov & Hutter (arXiv 1608.03983): members
//! whose step size never falls keep walking around what they agree on (Li et al., arXiv 1907.02189,
//! section 4).

use serde::{Deserialize, Serialize};

/// AdamW's step size, falling over `total` steps.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// Step size of the first step.
    pub learning_rate: f64,
    /// Step size that the last step comes close to; equal to the first: no decay.
    pub learning_rate_final: f64,
    /// Steps taken before this part of the training.
    pub done: u64,
    /// Steps of the whole training.
    pub total: u64,
}

impl Schedule {
    /// The same step size throughout.
    pub fn constant(learning_rate: f64) -> Schedule {
        Schedule { learning_rate, learning_rate_final: learning_rate, done: 0, total: 1 }
    }

    /// The step size of a part's `step`, counted from one. Past the end it stays at the final one.
    pub fn at(&self, step: usize) -> f64 {
        let taken = self.done + step.saturating_sub(1) as u64;
        let share = (taken as f64 / self.total.max(1) as f64).min(1.0);
        let fall = (1.0 + (std::f64::consts::PI * share).cos()) / 2.0;
        self.learning_rate_final + (self.learning_rate - self.learning_rate_final) * fall
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_falls_from_the_first_to_the_final_step_size_whatever_the_parts() {
        let whole = Schedule { learning_rate: 0.5, learning_rate_final: 0.1, done: 0, total: 8 };
        let second = Schedule { done: 4, ..whole };
        assert_eq!(whole.at(1), 0.5);
        assert!((whole.at(5) - 0.3).abs() < 1e-12, "half way down at half time");
        assert_eq!(second.at(1), whole.at(5));
        assert_eq!(second.at(3), whole.at(7));
        assert!((1..9).all(|step| whole.at(step + 1) < whole.at(step)));
        assert_eq!(second.at(5), 0.1);
        assert_eq!(second.at(100), 0.1);
    }

    #[test]
    fn a_constant_one_never_changes() {
        let schedule = Schedule::constant(0.25);
        assert!([1, 2, 1000].iter().all(|step| schedule.at(*step) == 0.25));
    }
}
