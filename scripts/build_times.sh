#!/usr/bin/env bash
# Seconds to build a checkout: from nothing, then after touching one file at a time.
#
#   scripts/build_times.sh [CHECKOUT [NAME=PATH ...]]    [default: this one, a file of each crate]
#
# Builds with --release into a folder of its own, so that nothing built before counts. Wall seconds
# depend on what else the machine does; processor seconds hardly do. A comparison needs both
# checkouts measured in one sitting.
set -euo pipefail
cd "${1:-$(dirname "$0")/..}"
shift || true
[ $# -gt 0 ] || set -- \
  protocol=protocol/src/round.rs net=node/net/src/dial.rs adapter=model/adapter/src/delta.rs \
  model=model/src/train.rs node=node/src/driver.rs lab=node/lab/src/grid.rs cli=node/cli/src/ask.rs
target=$(mktemp -d)
trap 'rm -rf "$target"' EXIT
TIMEFORMAT='%R s, processor %U s'
build() {
  printf '%-12s ' "$1"
  time CARGO_TARGET_DIR="$target" cargo build --release --locked --quiet
}
build first
for file; do
  touch "${file#*=}"
  build "${file%%=*}"
done
