#!/usr/bin/env bash
# Makes model/tests/parity anew: what transformers, diffusers, timm and PEFT say with small random checkpoints.
#
#   scripts/parity.sh
#
# Python's packages go into target/parity-venv. Then `cargo test --release -p witan-model --test parity`.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/parity_venv.sh
export PYTHONHASHSEED=0
"$venv/bin/python" scripts/parity.py
"$venv/bin/python" scripts/parity_blip3o.py
