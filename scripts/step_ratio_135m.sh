#!/usr/bin/env bash
# One LoRA step of SmolLM2-135M on 512 tokens, ours beside transformers + PEFT, in the same minutes.
#
#   scripts/step_ratio_135m.sh [ROUNDS [THREADS]]      (2 rounds; "1 2" threads)
#
# Needs what scripts/smollm2.sh makes: target/smollm2/hf and the Python environment. Turns alternate; the losses are
# compared first: if the twins disagree, there is nothing to compare. Two threads say something only on a machine with
# nothing else to do.
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${1:-2}
counts=${2:-1 2}
source scripts/parity_venv.sh
checkpoint=target/smollm2/hf
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

ours=$(cargo bench --workspace --locked --bench checkpoint_step --no-run --message-format=json 2>/dev/null |
    sed -n 's/.*"executable":"\([^"]*checkpoint_step[^"]*\)".*/\1/p')
"$ours" folder=$checkpoint dump="$folder/adapter"
for threads in $counts; do
    for round in $(seq "$rounds"); do
        "$ours" folder=$checkpoint threads="$threads" >"$folder/ours.$threads.$round"
        OMP_NUM_THREADS=$threads MKL_NUM_THREADS=$threads "$venv/bin/python" scripts/peft_checkpoint_step.py \
            $checkpoint "$folder/adapter" --threads "$threads" >"$folder/peft.$threads.$round"
    done
done
"$venv/bin/python" - "$folder" $counts <<'PYTHON'
import glob, json, statistics, sys

def runs(who, threads):
    return [json.load(open(path)) for path in glob.glob(f"{sys.argv[1]}/{who}.{threads}.*")]

for threads in sys.argv[2:]:
    ours, peft = runs("ours", threads), runs("peft", threads)
    apart = [abs(a - b) / b for a, b in zip(ours[0]["losses"], peft[0]["losses"])]
    assert apart[0] < 1e-5 and max(apart) < 1e-3, f"the twins disagree: {apart}"
    wall, cpu = ([statistics.median(value for run in who for value in run[key]) for who in (ours, peft)]
                 for key in ("step_ms", "cpu_ms"))
    peak = [max(run["peak_mb"] for run in who) for who in (ours, peft)]
    print(f"{threads} threads: ours {wall[0]:.0f} ms a step ({cpu[0]:.0f} CPU), transformers + PEFT {wall[1]:.0f} ({cpu[1]:.0f} CPU):"
          f" {wall[1] / wall[0]:.2f} times as fast; peak {peak[0]} MB beside {peak[1]};"
          f" losses apart by {apart[0]:.0e} at the first step, {max(apart):.0e} at most")
PYTHON
