//! New bytes from old: what a fuzzer without an instrumented program can do.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// Changes `bytes` in a few places; `other` lends a piece of itself.
pub fn mutate(random: &mut ChaCha8Rng, bytes: &mut Vec<u8>, other: &[u8]) {
    for _ in 0..random.random_range(1..=4) {
        let at = random.random_range(0..=bytes.len());
        match random.random_range(0..7) {
            0 => bytes.insert(at, byte(random)),
            1 if at < bytes.len() => drop(bytes.remove(at)),
            2 => bytes.truncate(at),
            3 if at < bytes.len() => bytes[at] ^= 1 << random.random_range(0..8),
            4 if !other.is_empty() => {
                let from = random.random_range(0..other.len());
                let until = (from + random.random_range(1..=64)).min(other.len());
                let end = (at + until - from).min(bytes.len());
                bytes.splice(at..end, other[from..until].iter().copied());
            }
            5 if at < bytes.len() => {
                // Numbers and lengths at their limits, as CBOR has them.
                let limits =
                    [0x00, 0x17, 0x18, 0x1b, 0x3b, 0x5b, 0x7f, 0x9b, 0x9f, 0xbb, 0xf6, 0xff];
                bytes[at] = limits[random.random_range(0..limits.len())];
            }
            _ if at < bytes.len() => bytes[at] = byte(random),
            _ => bytes.push(byte(random)),
        }
    }
    bytes.truncate(BYTES_MAX);
}

fn byte(random: &mut ChaCha8Rng) -> u8 {
    random.random_range(0..=255u32) as u8
}

/// A little more than any message may have.
const BYTES_MAX: usize = 70_000;
