#!/usr/bin/env python3
"""A checkpoint's LoRA step in PyTorch, transformers and PEFT.

    python3 scripts/peft_checkpoint_step.py FOLDER ADAPTER [--threads N] [--tokens N] [--steps N]
        [--device cpu|cuda] [--kept f32|bf16]

Uses the weights, adapter, row of tokens and optimizer of `cargo bench --bench checkpoint_step`. With
bf16 the base is stored in bf16 and the adapter in f32, and autocast decides the precision of each
operation. Prints one JSON line: the loss of every step, the milliseconds of each but the first
(wall and CPU), and the peak memory of the process.
"""

import argparse
import json
import resource
import time

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("adapter")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--kept", default="f32", choices=["f32", "bf16"])
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    mixed = arguments.kept == "bf16"
    base = AutoModelForCausalLM.from_pretrained(arguments.folder, dtype=torch.bfloat16 if mixed else torch.float32)
    model = PeftModel.from_pretrained(base.to(arguments.device), arguments.adapter, is_trainable=True).train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-3, eps=1e-8, weight_decay=0.0, foreach=True)
    vocabulary = base.config.vocab_size
    row = torch.tensor([[at * 7919 % vocabulary for at in range(arguments.tokens + 1)]], device=arguments.device)
    losses, times, busy = [], [], []
    for _ in range(arguments.steps):
        began, began_busy = time.perf_counter(), time.process_time()
        with torch.autocast(arguments.device, torch.bfloat16, enabled=mixed):
            logits = model(input_ids=row[:, :-1], use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(logits[0].float(), row[0, 1:])
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if arguments.device == "cuda":
            torch.cuda.synchronize()
        times.append((time.perf_counter() - began) * 1000)
        busy.append((time.process_time() - began_busy) * 1000)
        del logits, loss
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps({"step_ms": times[1:], "cpu_ms": busy[1:], "losses": losses, "peak_mb": peak}))


if __name__ == "__main__":
    main()
