#!/usr/bin/env bash
# The chaos test on real processes: members are killed, frozen, stalled and cut off, and one is
# Byzantine. It ends with equal heads, verified ledgers and a table of recovery times.
# usage: scripts/chaos.sh [--nodes 16] [--rounds 10] [--seed 1] [--local-steps 2] [--dir FOLDER]
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --release --locked --workspace --bins --examples
exec "${CARGO_TARGET_DIR:-target}/release/examples/chaos" "$@"
