#!/usr/bin/env bash
# Makes model/tests/parity anew: what transformers, diffusers, timm and PEFT say with small random checkpoints.
#
#   scripts/parity.sh
#
# Python's packages go into target/parity-venv. Then `cargo test --release -p witan-model --test parity`.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=${VENV:-target/parity-venv}
if [ ! -x "$venv/bin/python" ]; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet torch==2.15.0 transformers==4.57.3 diffusers==0.35.2 peft==0.21.2 timm==1.0.22 \
        torchvision==0.29.2 safetensors==0.8.0 numpy
fi
PYTHONHASHSEED=0 "$venv/bin/python" scripts/parity.py
