#!/usr/bin/env python3
"""The embedded model in PyTorch with a PEFT adapter: makes the reference, or checks a folder.

    python3 scripts/peft_round_trip.py make            writes model/adapter/tests/peft/
    python3 scripts/peft_round_trip.py check FOLDER    loads FOLDER with PeftModel.from_pretrained

`make` trains nothing: it has PEFT create and save an adapter of random numbers, and writes the
model's outputs with it. `check` loads a folder that `witan export --peft` wrote, and fails unless
the model's outputs are the same. The PyTorch model is peft_step.py's. scripts/peft_round_trip.sh
runs both in a venv of its own.
"""

import argparse
import pathlib

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft_step import HIDDEN, PATCH, PICTURE, QUERIES, VOCABULARY, Umm
from safetensors.torch import load_file, save_file
from torch import nn

ROOT = pathlib.Path(__file__).resolve().parent.parent
PINNED = ROOT / "model/adapter/tests/peft"
BASE = ROOT / "model/base/tiny/model.safetensors"
TARGETS = ["embed_tokens", "q_proj", "down_proj", "to_out"]


class Whole(nn.Module):
    """The PyTorch model at its place in the whole one, so that PEFT's names are those."""

    def __init__(self):
        super().__init__()
        self.model = Umm()
        weights = {k.removeprefix("model."): v.float() for k, v in load_file(BASE).items()}
        known = self.model.state_dict().keys()
        self.model.load_state_dict({k: v for k, v in weights.items() if k in known})

    def forward(self, given):
        """The logits after a question about a picture, and the clean grid drawn for a caption."""
        model, none = self.model, torch.zeros(1, dtype=torch.long)
        picture = torch.arange(VOCABULARY, VOCABULARY + PICTURE)
        slots = torch.cat([picture, given["question"].long()])[None]
        hidden = model.language(slots, none, given["picture"][0], 1)
        table = getattr(model.embed_tokens, "base_layer", model.embed_tokens).weight
        queries = torch.arange(VOCABULARY, VOCABULARY + QUERIES)
        slots = torch.cat([given["caption"].long(), queries])[None]
        states = model.language(slots, none, model.latent_queries, QUERIES)
        drawn = model.dit(given["noised"], given["level"], states, 1)
        return {"logits": hidden[0] @ table.T, "drawn": drawn}


def make():
    torch.manual_seed(7)
    config = LoraConfig(r=2, lora_alpha=6, lora_dropout=0.0, target_modules=TARGETS, init_lora_weights=False)
    model = get_peft_model(Whole(), config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.mul_(0.3)
    given = {
        "picture": torch.randn(1, PICTURE, HIDDEN),
        "question": torch.randint(5, VOCABULARY, (6,)).float(),
        "caption": torch.randint(5, VOCABULARY, (5,)).float(),
        "noised": torch.randn(1, PICTURE, PATCH),
        "level": torch.tensor([0.6]),
    }
    with torch.no_grad():
        said = model(given)
        with model.disable_adapter():
            plain = model(given)
    assert (said["logits"] - plain["logits"]).abs().max() > 1, "the adapter must matter"
    model.save_pretrained(PINNED)
    (PINNED / "README.md").unlink(missing_ok=True)
    save_file(given | {k: v.contiguous() for k, v in said.items()}, PINNED / "reference.safetensors")


def check(folder):
    pinned = load_file(PINNED / "reference.safetensors")
    with torch.no_grad():
        said = PeftModel.from_pretrained(Whole(), folder).eval()(pinned)
    for name, values in said.items():
        error = ((values - pinned[name]).abs().max() / pinned[name].abs().max()).item()
        print(f"{name}: apart by {error:.1e} of the largest")
        assert error < 1e-5, f"PEFT reads another adapter from {folder}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", choices=["make", "check"])
    parser.add_argument("folder", nargs="?")
    arguments = parser.parse_args()
    make() if arguments.task == "make" else check(arguments.folder)


if __name__ == "__main__":
    main()
