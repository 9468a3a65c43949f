#!/usr/bin/env bash
# Times one LoRA step of the embedded model, ours against PyTorch + PEFT on the same batches.
#
#   scripts/step_ratio.sh [ROUNDS [THREADS]]      [default: 5 rounds; "1 2" threads]
#
# Needs Rust and a Python with torch, peft and safetensors ($PYTHON, default python3). Runs
# alternate, so that other load on the machine affects both; medians are printed for each number of
# threads. The losses are compared first: if they differ, the timing means nothing. PyTorch's
# threads spin while they wait, so two threads are only meaningful on an otherwise idle machine.
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${1:-5}
counts=${2:-1 2}
python=${PYTHON:-python3}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

ours=$(cargo bench --workspace --locked --bench lora_step --no-run --message-format=json 2>/dev/null |
    sed -n 's/.*"executable":"\([^"]*lora_step[^"]*\)".*/\1/p')
"$ours" dump="$folder"
for threads in $counts; do
    for round in $(seq "$rounds"); do
        "$ours" threads="$threads" rounds=2 >"$folder/ours.$threads.$round"
        OMP_NUM_THREADS=$threads MKL_NUM_THREADS=$threads \
            "$python" scripts/peft_step.py "$folder" --threads "$threads" --rounds 2 >"$folder/peft.$threads.$round"
    done
done
"$python" - "$folder" $counts <<'PYTHON'
import glob, json, statistics, sys

def runs(who, threads):
    return [json.load(open(path)) for path in glob.glob(f"{sys.argv[1]}/{who}.{threads}.*")]

for threads in sys.argv[2:]:
    ours, peft = runs("ours", threads), runs("peft", threads)
    pairs = list(zip(sum(ours[0]["losses"], []), sum(peft[0]["losses"], [])))
    first = max(abs(a - b) for a, b in pairs[:2])
    later = max(abs(a - b) for a, b in pairs[:14])
    assert first < 1e-5 and later < 1e-3, f"the losses differ: {first} at the first step, {later} by the seventh"
    wall, cpu = ([statistics.median(value for run in who for value in run[key]) for who in (ours, peft)]
                 for key in ("step_ms", "cpu_ms"))
    peak = [max(run["peak_mb"] for run in who) for who in (ours, peft)]
    print(f"{threads} threads: ours {wall[0]:.1f} ms a step ({cpu[0]:.1f} CPU), PyTorch + PEFT {wall[1]:.1f} ({cpu[1]:.1f} CPU):"
          f" {wall[1] / wall[0]:.2f} times as fast; peak {peak[0]} MB beside {peak[1]};"
          f" losses apart by {first:.0e} at the first step, {later:.0e} by the seventh")
PYTHON
