#!/usr/bin/env bash
# The chaos test on real processes: members are killed, frozen, silenced and cut off, one lies; ends
# with equal heads, verified ledgers and a table of how long each recovery took.
# usage: scripts/chaos.sh [--nodes 16] [--rounds 10] [--seed 1] [--local-steps 2] [--dir FOLDER]
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --release --locked --workspace --bins --examples
exec "${CARGO_TARGET_DIR:-target}/release/examples/chaos" "$@"
