//! A count of right among asked, and the fraction it makes.

use std::ops::AddAssign;

/// Points won out of questions asked. VQA's points are tenths of a question, drawings' are whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Tenths of a point: ten for a wholly right answer.
    pub tenths: u64,
    /// How many were asked.
    pub asked: u64,
}

impl Tally {
    /// One question, with 0 to 10 tenths won.
    pub fn of(tenths: u64) -> Self {
        Self { tenths, asked: 1 }
    }

    /// Points over questions, 0 to 1; none where nothing was asked.
    pub fn fraction(self) -> Option<f64> {
        (self.asked > 0).then(|| self.tenths as f64 / (10 * self.asked) as f64)
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.tenths += other.tenths;
        self.asked += other.asked;
    }
}
