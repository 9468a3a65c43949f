#!/usr/bin/env python3
"""The embedded model's LoRA step in PyTorch and PEFT.

    python3 scripts/peft_step.py DUMP [--rounds N] [--base model/base/tiny/model.safetensors]

Runs on the batches that `cargo bench --bench lora_step` dumped, with its weights, adapter, shapes
and optimizer. Prints one JSON line: the loss of every step of a round, the milliseconds of one step
in every round (wall and CPU), and the peak memory. Needs torch, peft, safetensors.
"""

import argparse
import json
import math
import resource
import time

import torch
import torch.nn.functional as F
from peft import LoraConfig, get_peft_model, set_peft_model_state_dict
from safetensors.torch import load_file
from torch import nn

HIDDEN, HEADS, SHARED, LAYERS, INNER, VOCABULARY = 128, 4, 2, 4, 352, 80
QUERIES, PICTURE, PATCH, BLOCKS, TIMES = 16, 16, 72, 3, 64
HEAD = HIDDEN // HEADS
TARGETS = "embed_tokens q_proj k_proj v_proj o_proj gate_proj up_proj down_proj to_q to_k to_v to_out".split()


def linear(inputs, outputs, bias=False):
    return nn.Linear(inputs, outputs, bias=bias)


def split(x, heads):
    return x.view(*x.shape[:2], heads, HEAD).transpose(1, 2)


def joined(x):
    return x.transpose(1, 2).flatten(2)


class Norm(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(HIDDEN))

    def forward(self, x):
        return F.rms_norm(x, (HIDDEN,), self.weight, 1e-6)


class SelfAttention(nn.Module):
    def __init__(self):
        super().__init__()
        self.q_proj, self.o_proj = linear(HIDDEN, HIDDEN), linear(HIDDEN, HIDDEN)
        self.k_proj, self.v_proj = linear(HIDDEN, SHARED * HEAD), linear(HIDDEN, SHARED * HEAD)

    def forward(self, x, last, angles, mask):
        def turned(x):
            cosine, sine = (table[-x.shape[2] :] for table in angles)
            first, second = x.chunk(2, -1)
            return torch.cat([first * cosine - second * sine, second * cosine + first * sine], -1)

        query = turned(split(self.q_proj(x[:, -last:]), HEADS))
        key, value = turned(split(self.k_proj(x), SHARED)), split(self.v_proj(x), SHARED)
        mask = mask[:, :, -last:]
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, enable_gqa=True)
        return self.o_proj(joined(mixed))


class Mlp(nn.Module):
    def __init__(self):
        super().__init__()
        self.gate_proj, self.up_proj = linear(HIDDEN, INNER), linear(HIDDEN, INNER)
        self.down_proj = linear(INNER, HIDDEN)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.input_layernorm, self.post_attention_layernorm = Norm(), Norm()
        self.self_attn, self.mlp = SelfAttention(), Mlp()

    def forward(self, x, last, angles, mask):
        x = x[:, -last:] + self.self_attn(self.input_layernorm(x), last, angles, mask)
        return x + self.mlp(self.post_attention_layernorm(x))


class Projections(nn.Module):
    def __init__(self, out):
        super().__init__()
        self.to_q, self.to_k, self.to_v = (linear(HIDDEN, HIDDEN) for _ in range(3))
        if out:
            self.to_out = linear(HIDDEN, HIDDEN)

    def forward(self, x, context):
        query, key, value = self.to_q(x), self.to_k(context), self.to_v(context)
        return joined(F.scaled_dot_product_attention(*(split(t, HEADS) for t in (query, key, value))))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1 = nn.Module()
        self.norm1.norm, self.norm1.linear = Norm(), linear(HIDDEN, 4 * HIDDEN, True)
        self.norm1_context, self.ffn_norm1 = Norm(), Norm()
        self.attn1, self.attn2 = Projections(False), Projections(True)
        self.gate = nn.Parameter(torch.ones(HEADS))
        self.feed_forward = nn.Module()
        self.feed_forward.linear_1 = linear(HIDDEN, INNER)
        self.feed_forward.linear_3 = linear(HIDDEN, INNER)
        self.feed_forward.linear_2 = linear(INNER, HIDDEN)

    def forward(self, x, context, signal):
        scale, gate, feed_scale, feed_gate = self.norm1.linear(signal).unsqueeze(1).chunk(4, 2)
        h = self.norm1.norm(x) * (1 + scale)
        cross = self.attn2(h, self.norm1_context(context)).unflatten(2, (HEADS, HEAD))
        cross = (cross * self.gate.tanh()[:, None]).flatten(2)
        x = x + self.attn2.to_out(self.attn1(h, h) + cross) * gate.tanh()
        h = self.ffn_norm1(x) * (1 + feed_scale)
        feed = self.feed_forward
        return x + feed.linear_2(F.silu(feed.linear_1(h)) * feed.linear_3(h)) * feed_gate.tanh()


class Diffusion(nn.Module):
    def __init__(self):
        super().__init__()
        both = lambda inputs: [linear(inputs, HIDDEN, True), linear(HIDDEN, HIDDEN, True)]
        self.patch_embedder, self.caption_projection = nn.Module(), nn.Module()
        self.time_caption_embed, self.position, self.norm_out = nn.Module(), nn.Module(), nn.Module()
        self.patch_embedder.proj = linear(PATCH, HIDDEN, True)
        caption, time, norm = self.caption_projection, nn.Module(), self.norm_out
        caption.linear_1, caption.linear_2 = both(HIDDEN)
        time.linear_1, time.linear_2 = both(TIMES)
        self.time_caption_embed.timestep_embedder = time
        self.time_caption_embed.caption_embedder = nn.ModuleList([nn.Identity(), linear(HIDDEN, HIDDEN, True)])
        self.position.weight = nn.Parameter(torch.zeros(PICTURE, HIDDEN))
        self.layers = nn.ModuleList(Block() for _ in range(BLOCKS))
        norm.linear_1, norm.linear_2 = linear(HIDDEN, HIDDEN, True), linear(HIDDEN, PATCH, True)

    def forward(self, noised, levels, hidden, times):
        caption, embed = self.caption_projection, self.time_caption_embed
        context = caption.linear_2(F.gelu(caption.linear_1(hidden)))
        pooled = embed.caption_embedder[1](F.rms_norm(context.mean(1), (HIDDEN,), None, 1e-6))
        context, pooled = context.repeat_interleave(times, 0), pooled.repeat_interleave(times, 0)
        half = TIMES // 2
        angle = levels[:, None] * 1000 * 10000 ** (-torch.arange(half) / half)
        time = torch.cat([angle.cos(), angle.sin()], 1)
        time = embed.timestep_embedder.linear_2(F.silu(embed.timestep_embedder.linear_1(time)))
        signal = F.silu(time + pooled)
        x = self.patch_embedder.proj(noised) + self.position.weight
        for block in self.layers:
            x = block(x, context, signal)
        scale = 1 + self.norm_out.linear_1(signal).unsqueeze(1)
        return self.norm_out.linear_2(F.rms_norm(x, (HIDDEN,), None, 1e-6) * scale)


class Umm(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed_tokens = nn.Embedding(VOCABULARY, HIDDEN)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        self.norm = Norm()
        self.latent_queries = nn.Parameter(torch.zeros(QUERIES, HIDDEN))
        self.dit = Diffusion()

    def language(self, slots, padding, extra, last):
        """The last positions' hidden states; a slot from VOCABULARY on is a row of `extra`."""
        length = slots.shape[1]
        words = self.embed_tokens(slots.clamp(max=VOCABULARY - 1))
        others = extra[(slots - VOCABULARY).clamp(min=0)]
        x = torch.where((slots < VOCABULARY)[..., None], words, others)
        at = torch.arange(length)
        causal = (at <= at[:, None]) & (at >= padding[:, None, None])
        mask = (causal | (at == at[:, None]))[:, None]
        half = HEAD // 2
        angle = at[:, None] * 10000 ** (-torch.arange(half) / half)
        angles = angle.cos(), angle.sin()
        for index, layer in enumerate(self.layers):
            x = layer(x, last if index + 1 == LAYERS else length, angles, mask)
        return self.norm(x)

    def forward(self, batch):
        pictures = batch["pictures"].flatten(0, 1)
        hidden = self.language(batch["questions"], batch["question_padding"], pictures, 1)
        table = getattr(self.embed_tokens, "base_layer", self.embed_tokens).weight
        answer = F.cross_entropy(hidden[:, 0] @ table.T, batch["answers"])
        states = self.language(batch["captions"], batch["caption_padding"], self.latent_queries, QUERIES)
        states = states * batch["kept"][:, None, None]
        level = batch["levels"][:, None, None]
        times = len(level) // len(states)
        targets = batch["targets"].repeat_interleave(times, 0)
        noised = targets * (1 - level) + batch["noise"] * level
        drawn = self.dit(noised, batch["levels"], states, times)
        return answer, F.mse_loss(drawn, targets)


def batches(dump):
    whole = {"questions", "question_padding", "answers", "captions", "caption_padding"}
    tensors = load_file(f"{dump}/batches.safetensors")
    steps = {}
    for name, tensor in tensors.items():
        step, name = name.split(".")
        steps.setdefault(int(step), {})[name] = tensor.long() if name in whole else tensor
    return [steps[step] for step in sorted(steps)]


def fresh(base, dump):
    model = Umm()
    weights = {k.removeprefix("model."): v.float() for k, v in load_file(base).items()}
    known = model.state_dict().keys()
    model.load_state_dict({k: v for k, v in weights.items() if k in known})
    model = get_peft_model(model, LoraConfig(r=8, lora_alpha=16, lora_dropout=0.0, target_modules=TARGETS))
    adapter = load_file(f"{dump}/adapter.safetensors")
    # Ours name the whole model, of which PyTorch's is the part below `model.`.
    adapter = {k.replace("base_model.model.model.", "base_model.model."): v for k, v in adapter.items()}
    result = set_peft_model_state_dict(model, adapter)
    trained = [p for p in model.parameters() if p.requires_grad]
    assert not result.unexpected_keys and sum(p.numel() for p in trained) == sum(map(torch.numel, adapter.values()))
    return model, trained


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dump")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rate", type=float, default=1e-2)
    parser.add_argument("--base", default="model/base/tiny/model.safetensors")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    steps = batches(arguments.dump)
    times, busy, losses = [], [], []
    for _ in range(arguments.rounds):
        model, trained = fresh(arguments.base, arguments.dump)
        optimizer = torch.optim.AdamW(trained, lr=arguments.rate, eps=1e-8, weight_decay=0.0, foreach=True)
        losses = []
        began, began_busy = time.perf_counter(), time.process_time()
        for batch in steps:
            answer, flow = model(batch)
            losses.append([answer.item(), flow.item()])
            optimizer.zero_grad()
            (answer + flow).backward()
            optimizer.step()
        times.append((time.perf_counter() - began) * 1000 / len(steps))
        busy.append((time.process_time() - began_busy) * 1000 / len(steps))
    assert all(math.isfinite(value) for pair in losses for value in pair)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps({"step_ms": times, "cpu_ms": busy, "losses": losses, "peak_mb": peak}))


if __name__ == "__main__":
    main()
