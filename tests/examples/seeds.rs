//! Sound inputs for the fuzzer to begin with: `seeds DIR` writes one file for each thing that a few
//! scripted federations say, and for each document; `scripts/fuzz.sh` calls it.

use std::path::PathBuf;
use std::{env, fs, process};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use witan_protocol::digest::Digest;
use witan_tests::fuzz::{decoders, machine};

fn main() {
    let Some(folder) = env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: seeds DIR");
        process::exit(2);
    };
    let mut random = ChaCha8Rng::seed_from_u64(3);
    let mut script =
        || (0..1_000).map(|_| random.random_range(0..=255u32) as u8).collect::<Vec<_>>();
    let mut sound: Vec<_> = (0..4).flat_map(|_| machine::history(&script())).collect();
    let payloads: Vec<_> = sound.iter().filter_map(|bytes| decoders::payload(bytes)).collect();
    sound.extend(payloads);
    sound.extend(decoders::documents());
    for bytes in &sound {
        let path = folder.join(Digest::of(bytes).to_string());
        if let Err(error) = fs::write(&path, bytes) {
            eprintln!("cannot write {}: {error}", path.display());
            process::exit(1);
        }
    }
    println!("{} sound inputs in {}", sound.len(), folder.display());
}
