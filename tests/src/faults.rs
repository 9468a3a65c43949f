//! What goes wrong in a run: a plan made from the seed alone.

use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::lies::Lie;
use crate::link::{Cut, Direction, Weather};

/// Everything one seed decides about a run before it begins.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The network until it heals.
    pub weather: Weather,
    /// Members that lie, and how; never more than the quorum allows for.
    pub liars: Vec<(usize, Vec<Lie>)>,
    /// Members whose training takes so many times as long.
    pub slow: Vec<(usize, u64)>,
    /// What happens when, in milliseconds.
    pub faults: Vec<(u64, Fault)>,
    /// When everything but the liars is well again.
    pub heals_ms: u64,
    /// For how many rounds a late update may count in this federation.
    pub late_rounds: u64,
}

/// One thing that goes wrong, or right again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Some members are cut off.
    Cut(Cut),
    /// The oldest cut ends.
    Reconnect,
    /// A member dies at `point` and starts again later from what it had persisted.
    Crash {
        /// Who.
        node: usize,
        /// Where among its outputs.
        point: Point,
        /// How long it stays down.
        down_ms: u64,
    },
    /// Everything but the liars is well again.
    Heal,
}

/// Where among a member's outputs it dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// At once, between two inputs.
    Now,
    /// After so many more outputs, wherever that is.
    AfterOutputs(u32),
    /// Just before the next thing it wants made durable.
    BeforePersist,
    /// Just after it.
    AfterPersist,
}

impl Plan {
    /// The plan of `seed` for so many members, of whom at most `lying_max` may lie.
    pub fn new(seed: u64, size: usize, lying_max: usize) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed ^ PLAN_STREAM);
        let heals_ms = random.random_range(1_500..=9_000);
        let weather = weather(&mut random);
        let mut members: Vec<usize> = (0..size).collect();
        members.shuffle(&mut random);
        let lying = random.random_range(0..=lying_max);
        let liars = members[..lying].iter().map(|node| (*node, lies(&mut random))).collect();
        let slow = random.random_range(0..=size / 5);
        let slow = members[lying..lying + slow].iter();
        let slow = slow.map(|node| (*node, random.random_range(3..=20))).collect();
        let mut faults = vec![(heals_ms, Fault::Heal)];
        cuts(&mut random, size, heals_ms, &mut faults);
        crashes(&mut random, size, heals_ms, &mut faults);
        let late_rounds = one_of(&[0, 0, 1, 3], &mut random);
        Self { weather, liars, slow, faults, heals_ms, late_rounds }
    }
}

fn weather(random: &mut ChaCha8Rng) -> Weather {
    let mut sometimes = |max: u32| {
        if random.random_bool(0.6) { random.random_range(1..=max) } else { 0 }
    };
    let (loss_permille, twice_permille) = (sometimes(120), sometimes(100));
    let (late_permille, fail_permille) = (sometimes(30), sometimes(20));
    let delay_ms = one_of(&[10, 40, 120, 250], random);
    let train_ms = random.random_range(100..=1_500);
    Weather { loss_permille, twice_permille, late_permille, delay_ms, train_ms, fail_permille }
}

fn lies(random: &mut ChaCha8Rng) -> Vec<Lie> {
    let count = random.random_range(1..=4);
    (0..count).map(|_| one_of(&Lie::ALL, random)).collect()
}

fn cuts(random: &mut ChaCha8Rng, size: usize, heals_ms: u64, faults: &mut Vec<(u64, Fault)>) {
    let count = one_of(&[0, 0, 1, 1, 2, 3], random);
    for _ in 0..count {
        let share = random.random_range(0.1..0.6);
        let far = (0..size).map(|_| random.random_bool(share)).collect();
        let direction = one_of(
            &[Direction::Both, Direction::Both, Direction::Towards, Direction::From],
            random,
        );
        let noticed = direction == Direction::Both && random.random_bool(0.5);
        let from = random.random_range(0..heals_ms);
        let until = (from + random.random_range(200..=5_000)).min(heals_ms);
        faults.push((from, Fault::Cut(Cut { far, direction, noticed })));
        faults.push((until, Fault::Reconnect));
    }
}

fn crashes(random: &mut ChaCha8Rng, size: usize, heals_ms: u64, faults: &mut Vec<(u64, Fault)>) {
    let count = one_of(&[0, 1, 2, 4, 8, 12], random);
    for _ in 0..count {
        let node = random.random_range(0..size);
        let point = match random.random_range(0..6) {
            0 => Point::Now,
            1 => Point::BeforePersist,
            2 => Point::AfterPersist,
            _ => Point::AfterOutputs(random.random_range(1..=60)),
        };
        let down_ms = one_of(&[1, 100, 1_000, 6_000], random);
        faults.push((random.random_range(0..heals_ms), Fault::Crash { node, point, down_ms }));
    }
}

fn one_of<T: Copy>(choices: &[T], random: &mut ChaCha8Rng) -> T {
    choices[random.random_range(0..choices.len())]
}

/// Keeps the plan's random numbers apart from those of the run.
const PLAN_STREAM: u64 = 0x706c_616e;
