#!/usr/bin/env bash
# Shows that Python's PEFT and Witan read each other's adapters.
#
#   scripts/peft_round_trip.sh [make]
#
# PEFT's folder (model/adapter/tests/peft) goes through `witan export --adapter … --peft …`. The
# result must have the same tensors byte for byte, and PEFT must load it onto the same base with the
# same logits and drawing. `make` regenerates the pinned folder first. Python packages go into
# target/peft-venv. WITAN names a program that is already built.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=${VENV:-target/peft-venv}
if [ ! -x "$venv/bin/python" ]; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet torch==2.15.0 peft==0.21.2 safetensors==0.8.0 numpy==2.4.6
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
if [ "${1:-}" = make ]; then
    "$venv/bin/python" scripts/peft_round_trip.py make
fi
witan=(${WITAN:-cargo run --quiet --release --locked --})
"${witan[@]}" export --adapter model/adapter/tests/peft --peft "$folder/out"
cmp "$folder/out/adapter_model.safetensors" model/adapter/tests/peft/adapter_model.safetensors
"$venv/bin/python" scripts/peft_round_trip.py check "$folder/out"
