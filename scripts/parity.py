#!/usr/bin/env python3
"""Small random checkpoints made by transformers, diffusers and timm, with their outputs.

    python3 scripts/parity.py            writes model/tests/parity/

One folder per family: config.json and bf16 weights as written by `save_pretrained`, a LoRA adapter
as written by PEFT, and reference.safetensors with f32 outputs: hidden states and logits of two rows
of tokens, the same with the adapter, and the loss before and after one AdamW step on it. `lumina`
is BLIP3o's diffusion transformer, with the velocities it predicts; `eva` an EVA-CLIP tower with its
features. The Rust test `parity` compares our modules with them. `blip3o` is all of BLIP3o in the
layout of its released files (scripts/parity_blip3o.py). scripts/parity.sh creates a venv with
pinned versions first.
"""

import copy
import pathlib
import shutil

import torch
from diffusers import LuminaNextDiT2DModel
from diffusers.models.embeddings import PixArtAlphaTextProjection, get_2d_rotary_pos_embed_lumina
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from timm.models.eva import Eva
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

ROOT = pathlib.Path(__file__).resolve().parent.parent / "model/tests/parity"
SIZES = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.2,
    "max_position_embeddings": 64,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
}
VISION = {
    "depth": 3,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_heads": 2,
    "out_hidden_size": 32,
    "patch_size": 4,
    "window_size": 16,
    "fullatt_block_indexes": [1],
    "initializer_range": 0.2,
}


def models():
    llama = LlamaConfig(**SIZES, rms_norm_eps=1e-5, rope_theta=100000.0, tie_word_embeddings=True)
    yield "llama", LlamaForCausalLM(llama)
    yield "qwen2", Qwen2ForCausalLM(Qwen2Config(**SIZES, rope_theta=1e6, tie_word_embeddings=False))
    qwen3 = Qwen3Config(**SIZES, head_dim=16, rope_theta=1e6, tie_word_embeddings=True)
    yield "qwen3", Qwen3ForCausalLM(qwen3)
    rope = {"type": "mrope", "mrope_section": [1, 1, 2]}
    tokens = {"image_token_id": 63, "video_token_id": 62, "vision_start_token_id": 61, "vision_end_token_id": 60}
    text = SIZES | {"rope_theta": 1e6, "rope_scaling": rope, "tie_word_embeddings": True}
    whole = Qwen2_5_VLConfig(text_config=text, vision_config=VISION, tie_word_embeddings=True, **tokens)
    yield "qwen2_5_vl", Qwen2_5_VLForConditionalGeneration(whole)


def unlike_a_fresh_one(model):
    """Moves untrained norms and biases off one and zero, to values that bf16 stores exactly."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(torch.randn_like(parameter), alpha=0.2)
            parameter.copy_(parameter.bfloat16().float())


def said(model, rows):
    with torch.no_grad():
        output = model(input_ids=rows, output_hidden_states=True, use_cache=False)
    return output.hidden_states[-1], output.logits


def make(name, model):
    folder = ROOT / name
    shutil.rmtree(folder, ignore_errors=True)
    unlike_a_fresh_one(model)
    model.eval()
    rows = torch.randint(0, 60, (2, 12))
    hidden, logits = said(model, rows)
    reference = {"rows": rows.float(), "hidden": hidden, "logits": logits}
    # A copy: the rotary frequency tables would come back from bf16 rounded.
    copy.deepcopy(model).bfloat16().save_pretrained(folder, max_shard_size="20KB" if name == "qwen3" else "1GB")
    if name == "qwen2_5_vl":
        reference |= seen(model)
    else:
        reference |= adapted(model, rows, folder / "adapter")
    save_file({k: v.contiguous() for k, v in reference.items()}, folder / "reference.safetensors")
    (folder / "generation_config.json").unlink(missing_ok=True)
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


def seen(model):
    """A picture of six by ten patches: whole windows and cut ones."""
    patches = torch.randn(60, 3 * 2 * 4 * 4)
    with torch.no_grad():
        return {"patches": patches, "seen": model.visual(patches, grid_thw=torch.tensor([[1, 6, 10]]))}


def adapted(model, rows, folder):
    targets = ["q_proj", "v_proj", "o_proj", "gate_proj", "down_proj"]
    lora = LoraConfig(r=2, lora_alpha=6, target_modules=targets, init_lora_weights=False, task_type="CAUSAL_LM")
    tuned = get_peft_model(model, lora)
    tuned.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    logits = said(tuned, rows)[1]
    trained = [parameter for parameter in tuned.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-2, eps=1e-8, weight_decay=0.0)
    losses = []
    for _ in range(2):
        loss = tuned(input_ids=rows, labels=rows, use_cache=False).loss
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return {"adapted": logits, "losses": torch.tensor(losses)}


class Blip3oDiffusion(torch.nn.Module):
    """Lumina-Next as BLIP3o has it: diffusers' own, behind a projection of the condition."""

    def __init__(self, condition=24):
        super().__init__()
        sizes = {"hidden_size": 32, "num_layers": 2, "num_attention_heads": 4, "num_kv_heads": 2, "multiple_of": 8}
        features = {"sample_size": 4, "patch_size": 1, "in_channels": 12, "cross_attention_dim": 32}
        self.model = LuminaNextDiT2DModel(**sizes, **features, learn_sigma=False)
        self.model.caption_projection = PixArtAlphaTextProjection(in_features=condition, hidden_size=32)

    def forward(self, noised, times, condition):
        condition = self.model.caption_projection(condition)
        grid = noised.transpose(1, 2).unflatten(2, (4, 4))
        angles = get_2d_rotary_pos_embed_lumina(8, 384, 384)
        mask = torch.ones(condition.shape[:2])
        said = self.model(grid, times, condition, mask, angles, cross_attention_kwargs={}).sample
        return said.flatten(2).transpose(1, 2)


def make_diffusion():
    folder = ROOT / "lumina"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    model = Blip3oDiffusion().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_((torch.randn_like(parameter) * 0.2 + (parameter.dim() == 1)).bfloat16().float())
        given = {
            "noised": torch.randn(2, 16, 12),
            "times": torch.tensor([37.0, 801.0]),
            "condition": torch.randn(2, 5, 24),
        }
        given["velocity"] = model(**given)
    weights = {f"model.dit.{k}": v.bfloat16() for k, v in model.state_dict().items()}
    save_file(weights, folder / "model.safetensors")
    save_file({k: v.contiguous() for k, v in given.items()}, folder / "reference.safetensors")


def eva(**sizes):
    """A random tower, its tensors as in BLIP3o's file, its features of an image, and their means over
    squares of two by two."""
    model = Eva(**sizes, num_classes=0, use_post_norm=True).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_((torch.randn_like(parameter) * 0.3 + (parameter.dim() == 1)).bfloat16().float())
    side = sizes["img_size"] // sizes["patch_size"]

    @torch.no_grad()
    def said(pixels):
        x, _ = model._pos_embed(model.patch_embed(pixels))
        for block in model.blocks:
            x = block(x)
        features = x[:, 1:]
        pooled = torch.nn.functional.avg_pool2d(features.transpose(1, 2).unflatten(2, (side, side)), 2)
        return features, pooled.flatten(2).transpose(1, 2)

    weights = {}
    for name, value in model.state_dict().items():
        # BLIP3o's file has one bias where timm has two and no bias of keys.
        if name.endswith("q_bias"):
            values = model.state_dict()[name.replace("q_bias", "v_bias")]
            weights[name.replace("q_bias", "qkv.bias")] = torch.cat([value, torch.zeros_like(value), values])
        elif not name.endswith(("k_bias", "v_bias")):
            weights[name] = value
    return {k: v.bfloat16().contiguous() for k, v in weights.items()}, said


def make_eva():
    folder = ROOT / "eva"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    weights, said = eva(img_size=16, patch_size=4, embed_dim=16, depth=2, num_heads=2, mlp_ratio=2.5)
    save_file(weights, folder / "model.safetensors")
    pixels = torch.randn(2, 3, 16, 16)
    features, pooled = said(pixels)
    given = {"pixels": pixels, "features": features, "pooled": pooled}
    save_file({k: v.contiguous() for k, v in given.items()}, folder / "reference.safetensors")


def main():
    torch.manual_seed(11)
    for name, model in models():
        make(name, model)
    make_diffusion()
    make_eva()


if __name__ == "__main__":
    main()
