//! Proves that no bytes make a decoder or a participant panic, be read in two ways, hold without
//! bound or sign twice: a short fuzzing run, the same every time. `docs/TESTING.md` says how to run
//! a long one.
//!
//! What a run found lies in `tests/corpus/`; a failure here prints where it left the bytes that are
//! to join it.

use std::env;
use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use witan_protocol::digest::Digest;
use witan_tests::fuzz::{decoders, machine, mutate};

#[test]
fn whatever_bytes_are_read_nothing_panics_and_nothing_has_two_forms() {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let mut sound: Vec<_> = (0..4).flat_map(|_| machine::history(&script(&mut random))).collect();
    let payloads: Vec<_> = sound.iter().filter_map(|bytes| decoders::payload(bytes)).collect();
    sound.extend(payloads);
    sound.extend(decoders::documents());
    sound.extend(corpus("decoders"));
    for bytes in &sound {
        feed("decoders", decoders::decode, bytes);
    }
    for _ in 0..DAMAGED * times() {
        let mut bytes = sound[random.random_range(0..sound.len())].clone();
        let other = &sound[random.random_range(0..sound.len())];
        mutate::mutate(&mut random, &mut bytes, other);
        feed("decoders", decoders::decode, &bytes);
    }
}

#[test]
fn whatever_happens_to_a_participant_it_neither_panics_nor_signs_twice() {
    let mut random = ChaCha8Rng::seed_from_u64(2);
    let (kept, mut committed) = (corpus("machine"), 0);
    for bytes in &kept {
        committed += feed("machine", machine::drive, bytes);
    }
    for number in 0..SCRIPTS * times() {
        let mut bytes = script(&mut random);
        // Every other one is a kept one, damaged.
        if number % 2 == 1
            && let Some(known) = kept.get(number / 2 % kept.len().max(1))
        {
            let other = std::mem::replace(&mut bytes, known.clone());
            mutate::mutate(&mut random, &mut bytes, &other);
        }
        committed += feed("machine", machine::drive, &bytes);
    }
    assert!(committed > 0, "no script came so far that a round was committed");
}

/// How many times as long a run is asked for.
fn times() -> usize {
    env::var("WITAN_FUZZ").ok().and_then(|times| times.parse().ok()).unwrap_or(1)
}

fn script(random: &mut ChaCha8Rng) -> Vec<u8> {
    let length = random.random_range(100..2_000);
    (0..length).map(|_| random.random_range(0..=255u32) as u8).collect()
}

/// The kept inputs of a target, in the order of their names.
fn corpus(folder: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(folder);
    let entries = fs::read_dir(folder).into_iter().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("it can be listed").path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).expect("it can be read")).collect()
}

#[track_caller]
fn feed<T>(folder: &str, target: fn(&[u8]) -> T, bytes: &[u8]) -> T {
    panic::catch_unwind(AssertUnwindSafe(|| target(bytes))).unwrap_or_else(|_| {
        let name = format!("{folder}-{}", Digest::of(bytes).short());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::write(&path, bytes).expect("the folder of temporary files can be written");
        panic!("{} panics: copy it to tests/corpus/{folder}/", path.display());
    })
}

/// Damaged inputs read in a short run.
const DAMAGED: usize = 5_000;

/// Scripts lived through in a short run.
const SCRIPTS: usize = 200;
