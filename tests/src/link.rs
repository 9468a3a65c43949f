//! The network: what is lost, doubled, delayed, overtaken or cut off, and that it happened.

use rand::{Rng, RngExt};

use crate::coverage::{Coverage, Seen};

/// How the network and the machines behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weather {
    /// Messages lost, of a thousand.
    pub loss_permille: u32,
    /// Messages delivered twice, of a thousand.
    pub twice_permille: u32,
    /// Messages that take ten times as long, of a thousand.
    pub late_permille: u32,
    /// Longest delay of a message; the shortest is 1. Messages overtake each other freely.
    pub delay_ms: u64,
    /// How long training takes at most; at least half of it.
    pub train_ms: u64,
    /// Trainings that fail, of a thousand.
    pub fail_permille: u32,
}

/// A network that only delays.
pub const FAIR: Weather = Weather {
    loss_permille: 0,
    twice_permille: 0,
    late_permille: 0,
    delay_ms: 40,
    train_ms: 400,
    fail_permille: 0,
};

/// A network that loses one message in twenty.
pub const ROUGH: Weather = Weather {
    loss_permille: 50,
    twice_permille: 10,
    late_permille: 10,
    delay_ms: 150,
    train_ms: 2000,
    fail_permille: 0,
};

/// Some members cut off from the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Whether each member is on the far side.
    pub far: Vec<bool>,
    /// Which way nothing passes.
    pub direction: Direction,
    /// Whether connections over the cut are seen to close, or just fall silent.
    pub noticed: bool,
}

/// Which way a cut holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Nothing passes either way.
    Both,
    /// Nothing reaches the far side.
    Towards,
    /// Nothing leaves the far side.
    From,
}

/// The links between all members.
#[derive(Clone, Debug)]
pub struct Links {
    /// The weather.
    pub weather: Weather,
    cuts: Vec<Cut>,
    newest: Vec<Vec<u64>>,
}

impl Cut {
    /// Whether a message from one to the other is stopped.
    pub fn stops(&self, from: usize, to: usize) -> bool {
        match (self.far[from], self.far[to]) {
            (false, true) => self.direction != Direction::From,
            (true, false) => self.direction != Direction::Towards,
            _ => false,
        }
    }
}

impl Links {
    /// Everyone reaches everyone.
    pub fn new(size: usize, weather: Weather) -> Self {
        Self { weather, cuts: Vec::new(), newest: vec![vec![0; size]; size] }
    }

    /// One member more, reached by everyone.
    pub fn grow(&mut self) {
        self.newest.iter_mut().for_each(|row| row.push(0));
        self.newest.push(vec![0; self.newest.len() + 1]);
        for cut in &mut self.cuts {
            cut.far.push(false);
        }
    }

    /// Adds a cut.
    pub fn cut(&mut self, cut: Cut) {
        self.cuts.push(cut);
    }

    /// Ends the oldest cut.
    pub fn reconnect(&mut self) -> Option<Cut> {
        if self.cuts.is_empty() { None } else { Some(self.cuts.remove(0)) }
    }

    /// Whether some members are cut off.
    pub fn is_cut(&self) -> bool {
        !self.cuts.is_empty()
    }

    /// Whether anything passes from one to the other.
    pub fn passes(&self, from: usize, to: usize) -> bool {
        !self.cuts.iter().any(|cut| cut.stops(from, to))
    }

    /// When a message sent now arrives: never, once or twice.
    pub fn arrivals<R: Rng>(
        &mut self,
        (now, from, to): (u64, usize, usize),
        random: &mut R,
        coverage: &mut Coverage,
    ) -> [Option<u64>; 2] {
        let Weather { loss_permille, twice_permille, .. } = self.weather;
        if let Some(cut) = self.cuts.iter().find(|cut| cut.stops(from, to)) {
            let both = cut.direction == Direction::Both;
            coverage.saw(if both { Seen::Partition } else { Seen::OneWayPartition });
            return [None, None];
        }
        if hits(loss_permille, random) {
            coverage.saw(Seen::Loss);
            return [None, None];
        }
        let first = self.delay(random, coverage);
        if now + first < self.newest[from][to] {
            coverage.saw(Seen::Reordering);
        }
        self.newest[from][to] = self.newest[from][to].max(now + first);
        let second = hits(twice_permille, random).then(|| {
            coverage.saw(Seen::Duplication);
            self.delay(random, coverage)
        });
        [Some(first), second]
    }

    /// How long something takes from one member to another.
    pub fn delay<R: Rng>(&self, random: &mut R, coverage: &mut Coverage) -> u64 {
        let delay = random.random_range(1..=self.weather.delay_ms);
        if hits(self.weather.late_permille, random) {
            coverage.saw(Seen::LateMessage);
            return delay * 10;
        }
        delay
    }
}

fn hits<R: Rng>(permille: u32, random: &mut R) -> bool {
    permille > 0 && random.random_range(0..1000) < permille
}
