#!/usr/bin/env bash
# Regenerates model/tests/parity: small random checkpoints, with the outputs of transformers,
# diffusers, timm and PEFT.
#
#   scripts/parity.sh
#
# Python packages go into target/parity-venv. Then run `cargo test --release -p witan-model --test
# parity`.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/parity_venv.sh
export PYTHONHASHSEED=0
"$venv/bin/python" scripts/parity.py
"$venv/bin/python" scripts/parity_blip3o.py
