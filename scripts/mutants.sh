#!/usr/bin/env bash
# Breaks one rule of the protocol at a time and shows that the simulator notices: each patch of
# tests/mutants is applied to a worktree of its own, where a short sweep must fail. Prints which
# invariant was broken, in how many runs, and the first such seed. Takes the names of patches as
# arguments [default: all]; WITAN_SEEDS sets the number of seeds for each. A patch may name a sweep
# of its own (`sweep: --members 16`). Needs committed sources.
set -euo pipefail
cd "$(dirname "$0")/.."
repository=$PWD
seeds=${WITAN_SEEDS:-200}
worktree=$(mktemp -d)/witan
export CARGO_TARGET_DIR=${WITAN_MUTANTS_TARGET:-$repository/target/mutants} CARGO_INCREMENTAL=0
git worktree add --quiet --detach "$worktree" HEAD
trap 'git -C "$repository" worktree remove --force "$worktree"; rmdir "$(dirname "$worktree")"' EXIT
cd "$worktree"

sweep() {
    cargo build --quiet --release --locked --package witan-tests --bin sweep || return 2
    "$CARGO_TARGET_DIR/release/sweep" --members 7 --rounds 3 --seeds "$seeds" "$@"
}

if ! sweep > sweep.log; then
    echo "without a mutation the sweep must pass:" && cat sweep.log && exit 1
fi
missed=0
for patch in tests/mutants/*.patch; do
    name=$(basename "$patch" .patch)
    [[ $# -eq 0 || " $* " == *" $name "* ]] || continue
    expected=$(sed -n 's/^expect: //p' "$patch")
    read -r -a flags <<< "$(sed -n 's/^sweep: //p' "$patch")"
    git apply "$patch"
    if sweep "${flags[@]}" > sweep.log 2> sweep.err; then status=0; else status=$?; fi
    git checkout --quiet .
    first=$(grep -m 1 -E "^seed [0-9]+ FAILED.*$expected" sweep.log | grep -o -E '^seed [0-9]+' || true)
    if [[ $status -eq 1 && -n $first ]]; then
        asked=$(grep -o -E '[0-9]+ seeds' sweep.log | tail -n 1)
        runs=$(grep -c -E "^seed [0-9]+ FAILED.*$expected" sweep.log)
        printf '%-24s caught by %-24s in %3d of %s, first %s\n' \
            "$name" "$expected" "$runs" "$asked" "$first"
    else
        missed=$((missed + 1))
        printf '%-24s MISSED by %s (status %d)\n' "$name" "$expected" "$status"
        grep -o -E '^seed [0-9]+ FAILED at [0-9]+ ms: \w+' sweep.log | sed 's/.* //' | sort | uniq -c || true
        tail -n 5 sweep.err sweep.log
    fi
done
[[ $missed -eq 0 ]] && echo "every mutation was caught"
