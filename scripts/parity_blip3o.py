#!/usr/bin/env python3
"""A small random BLIP3o in the layout of BLIP3o-Model-4B, with its answers, drawings and losses.

    python3 scripts/parity_blip3o.py     writes model/tests/parity/blip3o/

The parts are transformers' Qwen2.5-VL and its image processor, and diffusers' Lumina-Next and Euler
scheduler, assembled and named as in BLIP3o's code (branch main): config.json, two weight files with
their index, a byte-level tokenizer.json, PEFT's adapter, timm's EVA-CLIP tower in a folder of its
own. reference.safetensors contains a question's tokens, patches, logits and greedy answer; a
caption's tokens, the hidden states at the image queries and the features drawn from given noise;
both losses of two questions and two captions before and after an AdamW step; and the tower's
features of the image. scripts/parity.sh creates a venv with pinned versions first.
"""

import json
import shutil

import numpy
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from parity import ROOT, SIZES, VISION, Blip3oDiffusion, eva, unlike_a_fresh_one
from peft import LoraConfig, get_peft_model
from PIL import Image
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import CLIPImageProcessor, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, Qwen2VLImageProcessor

FOLDER = ROOT / "blip3o"
SPECIAL = ["<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "[IMG]", "[/IMG]", "<image>"]
QUERIES, CHANNELS = 16, 12
QUESTIONS = [("what colour is it?", "red"), ("is there a tree?", "no")]
CAPTIONS = ["a red star", "two blue circles"]


def tokenizer():
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE({letter: at for at, letter in enumerate(letters)}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL])
    return made


def chat(user):
    """ChatML as BLIP3o's template `qwen` and Qwen2.5-VL's own have it."""
    system = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
    return f"{system}<|im_start|>user\n{user}<|im_end|>\n<|im_start|>assistant\n"


def asked(question, pads):
    picture = "<|vision_start|>" + "<|image_pad|>" * pads + "<|vision_end|>"
    return chat(f"{picture}{question}\nAnswer the question using a single word or phrase.")


class Blip3o(torch.nn.Module):
    """The parts under BLIP3o's names."""

    def __init__(self, whole):
        super().__init__()
        self.model, self.visual, self.lm_head = whole.model.language_model, whole.model.visual, whole.lm_head
        self.model.latent_queries = torch.nn.Parameter(torch.randn(1, QUERIES, SIZES["hidden_size"]))
        self.model.dit = Blip3oDiffusion(SIZES["hidden_size"])
        # Made, never read, and by torch.empty: whatever lay there.
        torch.nn.init.zeros_(self.model.dit.model.pad_token)
        self.places = whole.model.get_rope_index

    def states(self, tokens):
        """At the image queries, which follow the tokens; no positions are given."""
        embedded = torch.cat([self.model.embed_tokens(tokens), self.model.latent_queries], dim=1)
        return self.model(inputs_embeds=embedded, use_cache=False).last_hidden_state[:, -QUERIES:]

    def forward(self, questions, captions, grid):
        answers = []
        for tokens, answer, seen, image_token in questions:
            row = torch.cat([tokens, answer[:, :-1]], dim=1)
            embedded = self.model.embed_tokens(row).masked_scatter((row == image_token)[..., None], seen)
            places, _ = self.places(row, image_grid_thw=grid)
            hidden = self.model(inputs_embeds=embedded, position_ids=places, use_cache=False).last_hidden_state
            logits = self.lm_head(hidden[:, -answer.shape[1] :])
            answers.append(torch.nn.functional.cross_entropy(logits[0], answer[0], reduction="none"))
        rows, targets, levels, noise, kept = captions
        states = torch.cat([self.states(tokens) for tokens in rows]) * kept[:, None, None]
        noised = (1 - levels[:, None, None]) * targets + levels[:, None, None] * noise
        said = self.model.dit(noised, levels * 1000, states)
        return torch.cat(answers).mean(), torch.nn.functional.mse_loss(said, noise - targets)


def draw(model, states, noise):
    scheduler = FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, shift=1.0)
    scheduler.set_timesteps(30, sigmas=numpy.linspace(1.0, 1 / 30, 30))
    both, x = torch.cat([torch.zeros_like(states), states]), noise
    for time in scheduler.timesteps:
        without, wanted = model.model.dit(x.repeat(2, 1, 1), time.expand(2).long(), both).chunk(2)
        x = scheduler.step(without + 3.0 * (wanted - without), time, x).prev_sample
    return x


def configuration(whole, ids):
    """config.json as transformers 4.51.3 writes it: the language model's keys are at the top."""
    text = whole.config.text_config
    keys = ["hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
            "vocab_size", "rms_norm_eps", "hidden_act", "use_sliding_window"]  # fmt: skip
    return {key: getattr(text, key) for key in keys} | {
        "architectures": ["blip3oQwenForCausalLM"],
        "model_type": "blip3o_qwen",
        "rope_theta": 1000000.0,
        "rope_scaling": {"mrope_section": [1, 1, 2], "rope_type": "default", "type": "default"},
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "image_token_id": ids["<|image_pad|>"],
        "vision_start_token_id": ids["<|vision_start|>"],
        "vision_end_token_id": ids["<|vision_end|>"],
        "gen_vision_tower": "eva-clip-E-14-plus",
        "gen_hidden_size": CHANNELS,
        "gen_pooling": "early_pool2d_4",
        "gen_projector_type": "mlp2x_gelu",
        "mm_projector_type": "mlp2x_gelu",
        "n_query": QUERIES,
        "vision_config": VISION | {"in_channels": 3, "in_chans": 3, "spatial_merge_size": 2, "temporal_patch_size": 2,
                                   "hidden_act": "silu", "tokens_per_second": 4, "model_type": "qwen2_5_vl"},
    }  # fmt: skip


def write(model, whole, ids):
    (FOLDER / "config.json").write_text(json.dumps(configuration(whole, ids), indent=2) + "\n")
    weights = {k: v.bfloat16().contiguous() for k, v in model.state_dict().items() if k != "lm_head.weight"}
    shards = {"model-00001-of-00002.safetensors": {}, "model-00002-of-00002.safetensors": {}}
    first, second = shards.values()
    for name, value in weights.items():
        (second if name.startswith("model.dit.") else first)[name] = value
    for name, shard in shards.items():
        save_file(shard, FOLDER / name, metadata={"format": "pt"})
    index = {name: file for file, shard in shards.items() for name in shard}
    whole_index = {"metadata": {"total_size": sum(v.nbytes for v in weights.values())}, "weight_map": index}
    (FOLDER / "model.safetensors.index.json").write_text(json.dumps(whole_index, indent=2) + "\n")


def picture():
    """Fifty by seventy pixels of slopes and stripes, so that every resampled row differs."""
    y, x = numpy.mgrid[0:50, 0:70]
    channels = [x * 3 + y, (x // 5 % 2) * 200 + y, (x * y) % 256]
    return Image.fromarray(numpy.stack(channels, 2).clip(0, 255).astype(numpy.uint8))


def main():
    torch.manual_seed(12)
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    words = tokenizer()
    words.save(str(FOLDER / "tokenizer.json"))
    ids = {token: words.token_to_id(token) for token in SPECIAL}
    rope = {"type": "mrope", "mrope_section": [1, 1, 2]}
    text = SIZES | {"rope_theta": 1e6, "rope_scaling": rope, "tie_word_embeddings": True}
    text |= {"vocab_size": words.get_vocab_size(), "max_position_embeddings": 1024}
    tokens = {"image_token_id": ids["<|image_pad|>"], "video_token_id": ids["<image>"],
              "vision_start_token_id": ids["<|vision_start|>"], "vision_end_token_id": ids["<|vision_end|>"]}  # fmt: skip
    config = Qwen2_5_VLConfig(text_config=text, vision_config=VISION, tie_word_embeddings=True, **tokens)
    whole = Qwen2_5_VLForConditionalGeneration(config)
    model = Blip3o(whole)
    unlike_a_fresh_one(model)
    whole.eval()
    model.eval()
    write(model, whole, ids)

    picture().save(FOLDER / "picture.png")
    processor = Qwen2VLImageProcessor(
        patch_size=4, merge_size=2, temporal_patch_size=2, min_pixels=1024, max_pixels=2048
    )
    processor.save_pretrained(FOLDER)
    seen = processor(picture(), return_tensors="pt")
    grid = seen["image_grid_thw"]
    pads = int(grid.prod()) // 4
    encode = lambda text: torch.tensor([words.encode(text).ids])
    reference = {"patches": seen["pixel_values"], "grid": grid[0, 1:].float()}
    with torch.no_grad():
        question = encode(asked(QUESTIONS[0][0], pads))
        given = {"input_ids": question, "pixel_values": seen["pixel_values"], "image_grid_thw": grid}
        reference |= {"question": question.float(), "logits": whole(**given, use_cache=False).logits[0, -4:]}
        whole.generation_config.eos_token_id = None
        greedy = whole.generate(**given, do_sample=False, max_new_tokens=6, attention_mask=torch.ones_like(question))
        reference["answer"] = greedy[0, question.shape[1] :].float()
        wish = "Please generate image based on the following caption: "
        rows = [encode(chat(wish + caption) + "[IMG]") for caption in CAPTIONS]
        states, noise = model.states(rows[0]), torch.randn(1, QUERIES, CHANNELS)
        reference |= {"caption": rows[0].float(), "states": states, "noise": noise, "drawn": draw(model, states, noise)}
        vision = model.visual(seen["pixel_values"], grid_thw=grid)
    targets, hidden = torch.randn(2, QUERIES, CHANNELS), torch.randn(2, QUERIES, CHANNELS)
    levels, kept = torch.tensor([0.3, 0.8]), torch.tensor([1.0, 0.0])
    reference |= {"targets": targets, "hidden": hidden, "levels": levels, "kept": kept}
    questions = [(encode(asked(question, pads)), encode(answer + "<|im_end|>"), vision, ids["<|image_pad|>"])
                 for question, answer in QUESTIONS]  # fmt: skip
    reference["losses"] = learnt(model, questions, (rows, targets, levels, hidden, kept), grid)
    reference["tower"] = tower()
    save_file({k: v.contiguous() for k, v in reference.items()}, FOLDER / "reference.safetensors")
    for path in FOLDER.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


def tower():
    """Writes a tower whose features the model could draw; what it makes of the picture."""
    torch.manual_seed(13)
    folder = FOLDER / "eva_clip_vision_tower"
    folder.mkdir()
    weights, said = eva(img_size=32, patch_size=4, embed_dim=CHANNELS, depth=2, num_heads=2, mlp_ratio=2.0)
    save_file(weights, folder / "model.safetensors")
    (folder / "config.json").write_text('{"num_heads": 2}\n')
    processor = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=32)
    return said(processor(picture(), return_tensors="pt")["pixel_values"])[1]


def learnt(model, questions, captions, grid):
    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "to_q", "to_k", "to_v", "to_out.0"]
    tuned = get_peft_model(model, LoraConfig(r=2, lora_alpha=6, target_modules=targets, init_lora_weights=False))
    tuned.save_pretrained(FOLDER / "adapter")
    (FOLDER / "adapter/README.md").unlink(missing_ok=True)
    trained = [parameter for parameter in tuned.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-2, eps=1e-8, weight_decay=0.0)
    losses = []
    for _ in range(2):
        answer, flow = tuned(questions, captions, grid)
        losses.append([answer.item(), flow.item()])
        optimizer.zero_grad()
        (answer + flow).backward()
        optimizer.step()
    return torch.tensor(losses)


if __name__ == "__main__":
    main()
