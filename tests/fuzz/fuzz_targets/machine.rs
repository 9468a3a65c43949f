//! Bytes are what happens to a participant.

#![no_main]

use witan_tests::fuzz::machine;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    machine::drive(bytes);
});
