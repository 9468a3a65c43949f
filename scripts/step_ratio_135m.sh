#!/usr/bin/env bash
# Times one LoRA step of SmolLM2-135M on 512 tokens, ours against transformers + PEFT.
#
#   scripts/step_ratio_135m.sh [ROUNDS [THREADS [DEVICE]]]   [default: 2 rounds; "1 2" threads; cpu]
#
# DEVICE is cpu, in f32; cuda, in bf16 (docs/GPU.md; memory is what nvidia-smi lists, so the GPU
# must be otherwise idle); or cpu-bf16, which emulates the GPU's rounding, slowly, for comparing
# losses. Needs the output of scripts/smollm2.sh: target/smollm2/hf and the Python environment. Runs
# alternate. The losses are compared first: if they differ, the timing means nothing. Two threads
# are only meaningful on an otherwise idle machine.
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${1:-2}
counts=${2:-1 2}
case ${3:-cpu} in
cpu) device=cpu kept=f32 features= steps=4 ;;
cpu-bf16) device=cpu kept=bf16 features= steps=4 ;;
# The first steps compile and tune the kernels.
cuda) device=cuda kept=bf16 features=witan-model/cuda steps=40 ;;
*) echo "DEVICE is cpu, cpu-bf16 or cuda" >&2 && exit 2 ;;
esac
source scripts/parity_venv.sh
checkpoint=target/smollm2/hf
tokens=512
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

gpu_mb() {
    nvidia-smi --query-gpu=memory.used --format=csv,noheader,nounits | head -1
}

# Runs a command and writes its JSON line to a file, and its peak GPU memory to FILE.gpu.
measured() {
    local into=$1
    shift
    if [ $device = cpu ]; then
        "$@" >"$into"
        return
    fi
    local before peak
    before=$(gpu_mb)
    "$@" >"$into" &
    peak=$before
    while kill -0 $! 2>/dev/null; do
        now=$(gpu_mb)
        peak=$((now > peak ? now : peak))
        sleep 0.2
    done
    wait $!
    echo $((peak - before)) >"$into.gpu"
}

ours=$(cargo bench --workspace --locked --bench checkpoint_step --features "$features" --no-run \
    --message-format=json 2>/dev/null | sed -n 's/.*"executable":"\([^"]*checkpoint_step[^"]*\)".*/\1/p')
"$ours" folder=$checkpoint dump="$folder/adapter"
for threads in $counts; do
    for round in $(seq "$rounds"); do
        measured "$folder/ours.$threads.$round" \
            "$ours" folder=$checkpoint threads="$threads" tokens=$tokens steps=$steps device=$device kept=$kept
        OMP_NUM_THREADS=$threads MKL_NUM_THREADS=$threads measured "$folder/peft.$threads.$round" \
            "$venv/bin/python" scripts/peft_checkpoint_step.py $checkpoint "$folder/adapter" \
            --threads "$threads" --tokens $tokens --steps $steps --device $device --kept $kept
    done
done
"$venv/bin/python" - "$folder" $tokens $kept $counts <<'PYTHON'
import glob, json, os, statistics, sys

folder, tokens, kept, *counts = sys.argv[1:]
# bf16 has eight bits, and the two implementations round in different places.
first, later = {"f32": (1e-5, 1e-3), "bf16": (1e-2, 3e-2)}[kept]

def paths(who, threads):
    return sorted(glob.glob(f"{folder}/{who}.{threads}.*[0-9]"))

def peak(run, path):
    return int(open(f"{path}.gpu").read()) if os.path.exists(f"{path}.gpu") else run["peak_mb"]

for threads in counts:
    runs = [[json.load(open(path)) for path in paths(who, threads)] for who in ("ours", "peft")]
    ours, peft = runs
    apart = [abs(a - b) / b for a, b in list(zip(ours[0]["losses"], peft[0]["losses"]))[:4]]
    assert apart[0] < first and max(apart) < later, f"the losses differ: {apart}"
    wall, cpu = ([statistics.median(value for run in who for value in run[key]) for who in runs]
                 for key in ("step_ms", "cpu_ms"))
    peaks = [max(map(peak, who, paths(name, threads))) for who, name in zip(runs, ("ours", "peft"))]
    per_second = [int(tokens) / milliseconds * 1000 for milliseconds in wall]
    print(f"{threads} threads: ours {wall[0]:.0f} ms a step ({cpu[0]:.0f} CPU, {per_second[0]:.0f} tokens/s),"
          f" transformers + PEFT {wall[1]:.0f} ms ({cpu[1]:.0f} CPU, {per_second[1]:.0f} tokens/s):"
          f" {wall[1] / wall[0]:.2f} times as fast; peak {peaks[0]} MB beside {peaks[1]};"
          f" losses apart by {apart[0]:.0e} at the first step, {max(apart):.0e} at most of four")
PYTHON
