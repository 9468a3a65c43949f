#!/usr/bin/env bash
# Measures the time from the SIGKILL of an elected aggregator until the next one has closed the
# round: N trials, each with a federation of its own. Prints every trial, the median and the worst.
# Fails if a trial does not go as expected, or if any member trains the round twice. On a busy
# machine a kill may come after the victim has closed the round; such a trial does not count and is
# repeated.
# usage: scripts/kill_trials.sh [TRIALS=20] [NODES=4]
# WITAN: the program, or a command that runs it.
set -euo pipefail
cd "$(dirname "$0")/.."
trials=${1:-20} nodes=${2:-4}
witan=${WITAN:-${CARGO_TARGET_DIR:-target}/release/witan}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

for seed in $(seq $((2 * trials))); do
    # Unquoted: WITAN may be several words.
    $witan testnet --nodes "$nodes" --rounds 1 --local-steps 2 --kill-aggregator 1 --no-compare \
        --seed "$seed" --json --dir "$work/net" >"$work/$seed.json"
    timeout_ms=$(sed -n 's/^view_timeout_ms = //p' "$work/net/nodes/00/federation.toml")
    rm -rf "$work/net"
    python3 - "$work/$seed.json" "$seed" <<'PYTHON'
import json, os, sys
killed = json.load(open(sys.argv[1]))["killed"]
if killed["view"] < 1:
    print(f"trial {sys.argv[2]:>3}: {killed['node']} had closed the round when it was killed: not counted")
    os.remove(sys.argv[1])
    sys.exit()
print(f"trial {sys.argv[2]:>3}: {killed['node']} killed, view {killed['view']} closed the round "
      f"{killed['closed_after_s']:.2f} s later; retrained {killed['retrained']}, rejoined {killed['rejoined']}")
if killed["retrained"] or not killed["rejoined"]:
    sys.exit("the trial did not go as expected")
PYTHON
    [ "$(find "$work" -name '*.json' | wc -l)" -lt "$trials" ] || break
done
shopt -s nullglob
python3 - "$timeout_ms" "$nodes" "$trials" "$work"/*.json <<'PYTHON'
import json, statistics, sys
reports = [json.load(open(name)) for name in sys.argv[4:]]
took = [report["killed"]["closed_after_s"] for report in reports]
retrained = sum(report["killed"]["retrained"] for report in reports)
if len(took) < int(sys.argv[3]):
    sys.exit(f"only {len(took)} of {sys.argv[3]} kills came in time: the machine is too busy")
print(f"{len(took)} trials with {sys.argv[2]} nodes, view timeout {sys.argv[1]} ms: "
      f"median {statistics.median(took):.2f} s, worst {max(took):.2f} s, retrained {retrained}")
PYTHON
