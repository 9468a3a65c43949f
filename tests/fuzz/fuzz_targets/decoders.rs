//! Bytes are read as everything the protocol reads.

#![no_main]

use witan_tests::fuzz::decoders;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    decoders::decode(bytes);
});
