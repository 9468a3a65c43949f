#!/usr/bin/env bash
# Fuzzes every decoder, and a participant that receives arbitrary messages, guided by coverage.
# `scripts/fuzz.sh 600` runs each of the two targets for ten minutes. With `keep` after the number,
# inputs that reach new code join tests/corpus (as few as reach it all), which every `cargo test`
# replays. An input that fails is always kept in tests/fuzz/artifacts, and named. Installs
# cargo-fuzz if it is missing. Runs on stable Rust, hence without sanitizers: the code is safe Rust,
# and a panic is a failure.
set -euo pipefail
cd "$(dirname "$0")/../tests/fuzz"
seconds=${1:-60}
version=0.13.2
cargo fuzz --version > /dev/null 2>&1 || cargo install --quiet --locked cargo-fuzz@$version
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/../../target/fuzz}
mkdir -p "$CARGO_TARGET_DIR/corpus/decoders"
cargo run --quiet --release --manifest-path ../Cargo.toml --example seeds -- "$CARGO_TARGET_DIR/corpus/decoders"
for target in decoders machine; do
    corpus=$PWD/../corpus/$target
    grown=$CARGO_TARGET_DIR/corpus/$target
    mkdir -p "$corpus" "$grown"
    cargo fuzz run --sanitizer none $target "$grown" "$corpus" -- -max_total_time="$seconds" \
        -max_len=4096 -timeout=25 -rss_limit_mb=2048 -print_final_stats=1 2>&1 | tail -n 12
    if [[ ${2:-} == keep ]]; then
        cargo fuzz run --sanitizer none $target -- -set_cover_merge=1 "$corpus" "$grown" 2>&1 | tail -n 2
    fi
    echo "$target: $(find "$corpus" -type f | wc -l) inputs kept, $(du -sh "$corpus" | cut -f1)"
done
