# Sourced by parity.sh and smollm2.sh: a Python environment with the reference libraries, in
# target/parity-venv or the folder that VENV names. Sets `venv`.
venv=${VENV:-target/parity-venv}
if [ ! -x "$venv/bin/python" ]; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet torch==2.15.0 transformers==4.57.3 diffusers==0.35.2 peft==0.21.2 timm==1.0.22 \
        torchvision==0.29.2 safetensors==0.8.0 gguf==0.19.0 numpy==2.4.6
fi
