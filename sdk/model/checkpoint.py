"""Single files in the original (LDM) key layout: what a file is, and the configs behind its shapes."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any, NoReturn

from ..errors import ModelError
from .keys import CLIP_PREFIX, OPEN_CLIP_PREFIX, UNET_PREFIX, VAE_PREFIX

SUPPORTED = "Stable Diffusion 1.x and 2.x checkpoints are supported"
PICKLE_SUFFIXES = {".ckpt", ".pt", ".pth", ".bin", ".pkl"}
MAX_HEADER = 100_000_000
CLIP_WORDS = 49408
LATENT_SCALE = 0.18215
DTYPE_BYTES = {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "F16": 2, "BF16": 2, "I16": 2}


@dataclass(frozen=True)
class Header:
    """The head of a safetensors file: the shape of every tensor by name, and the free metadata."""

    shapes: dict[str, tuple[int, ...]]
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Anatomy:
    """Keyword arguments for the configs of the three networks; generation 1 or 2 of Stable Diffusion."""

    generation: int
    unet: dict[str, Any]
    vae: dict[str, Any]
    text: dict[str, Any]


def read_header(path: Path) -> Header:
    """Read and check the head of a safetensors file; anything else is refused with the reason."""
    with path.open("rb") as file:
        start = file.read(64)
        file.seek(0, 2)
        size = file.tell()
        if _is_pickle(path, start):
            refuse_pickle(path)
        if start.startswith(b"version https://git-lfs"):
            _fail(path, "is a Git LFS pointer and not the weights; fetch the file itself with `git lfs pull`")
        length = int.from_bytes(start[:8], "little")
        if size < 10 or not start[8:].lstrip().startswith(b"{") or length > MAX_HEADER:
            page = start.lstrip().lower().startswith((b"<!doc", b"<html"))
            what = "a web page" if page else "something else"
            _fail(path, f"is not a safetensors file but {what}; download the checkpoint again")
        if 8 + length > size:
            _fail(path, "is cut off inside its header; download the checkpoint again")
        file.seek(8)
        raw = file.read(length)
    try:
        entries = json.loads(raw)
        metadata = entries.pop("__metadata__", {})
        shapes = {name: tuple(entry["shape"]) for name, entry in entries.items()}
        end = max((entry["data_offsets"][1] for entry in entries.values()), default=0)
        broken = [
            name
            for name, entry in entries.items()
            if (unit := DTYPE_BYTES.get(entry["dtype"]))
            and entry["data_offsets"][1] - entry["data_offsets"][0] != unit * prod(entry["shape"])
        ]
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        _fail(path, "has a damaged safetensors header; download the checkpoint again")
    if 8 + length + end > size:
        missing = 8 + length + end - size
        _fail(path, f"is cut off ({missing} bytes are missing); download the checkpoint again")
    if broken:
        _fail(path, f"has a damaged entry {broken[0]!r} in its header; download the checkpoint again")
    return Header(shapes, metadata)


def refuse_pickle(path: Path) -> NoReturn:
    _fail(
        path,
        "holds pickled weights, and a pickle can run any code when it is opened; "
        "use a .safetensors version of the model",
    )


def anatomy(path: Path, header: Header) -> Anatomy:
    """Infer the three configs from the names and shapes of the weights, or say what the file is instead."""
    _refuse_others(path, header.shapes)
    try:
        unet, linear = _unet_config(header.shapes)
        text, open_clip = _text_config(header.shapes)
        found = Anatomy(1 + open_clip, unet, _vae_config(header.shapes), text)
    except (KeyError, ValueError, IndexError) as error:
        msg = f"{path.name} lacks weights that every Stable Diffusion has ({error}); {SUPPORTED}."
        raise ModelError(msg) from error
    if text["vocab_size"] != CLIP_WORDS:
        _fail(path, f"has a vocabulary of {text['vocab_size']} words, not CLIP's; give a diffusers folder")
    unet["upcast_attention"] = linear and found.generation == 2
    return found


def _refuse_others(path: Path, shapes: dict[str, tuple[int, ...]]) -> None:
    """Name the kinds of model that people mistake for a Stable Diffusion 1.x or 2.x checkpoint."""

    def has(part: str) -> bool:
        return any(part in name for name in shapes)

    entry = shapes.get(f"{UNET_PREFIX}input_blocks.0.0.weight")
    kind = None
    if has("lora_") or has(".lora.") or has("lora_A."):
        kind = "a LoRA, which changes a model and is none itself"
    elif has("double_blocks."):
        kind = "a Flux checkpoint"
    elif has("joint_blocks."):
        kind = "a Stable Diffusion 3 checkpoint"
    elif has("conditioner.embedders.0.") and not has("conditioner.embedders.1."):
        kind = "an SDXL refiner"
    elif has("conditioner.embedders.") or (has("label_emb.") and not has("cond_stage_model.")):
        kind = "an SDXL checkpoint"
    elif has("control_model.") or has("controlnet_cond_embedding."):
        kind = "a ControlNet"
    elif entry and len(entry) > 1 and entry[1] == 9:
        kind = "an inpainting checkpoint"
    elif entry and len(entry) > 1 and entry[1] != 4:
        kind = f"a checkpoint with {entry[1]} input channels (depth or instruction model)"
    elif has("label_emb."):
        kind = "an unCLIP checkpoint"
    elif "down_blocks.0.resnets.0.conv1.weight" in shapes:
        kind = "one part of a diffusers folder; give the path of the folder"
    elif entry is None and (has("decoder.up.") or has("decoder.up_blocks.")):
        kind = "an autoencoder (VAE) alone"
    elif entry is None:
        kind = "no Stable Diffusion checkpoint"
    elif not has(VAE_PREFIX):
        kind = "a checkpoint without its autoencoder"
    elif not has("cond_stage_model."):
        kind = "a checkpoint without its text encoder"
    if kind:
        msg = f"{path.name} is {kind}; {SUPPORTED}."
        raise ModelError(msg)


def _unet_config(shapes: dict[str, tuple[int, ...]]) -> tuple[dict[str, Any], bool]:
    """Config of the U-Net, and whether its projections are linear layers, as in Stable Diffusion 2.x."""
    unet = {name.removeprefix(UNET_PREFIX): shapes[name] for name in shapes if name.startswith(UNET_PREFIX)}
    blocks = 1 + max(int(m[1]) for name in unet if (m := re.match(r"input_blocks\.(\d+)\.", name)))
    stages = 1 + sum(name.endswith(".0.op.weight") for name in unet)
    if stages != 4 or blocks % 4:
        msg = f"the U-Net has {stages} stages, not 4"
        raise ValueError(msg)
    per_block = blocks // 4 - 1
    first = [1 + stage * (per_block + 1) for stage in range(4)]
    channels = [unet[f"input_blocks.{index}.0.out_layers.3.weight"][0] for index in first]
    attends = [f"input_blocks.{index}.1.proj_in.weight" in unet for index in first]
    depth = 1 + max(int(m[1]) for name in unet if (m := re.search(r"\.1\.transformer_blocks\.(\d+)\.", name)))
    if depth != 1:
        msg = f"its transformers are {depth} blocks deep, not 1"
        raise ValueError(msg)
    linear = len(unet["middle_block.1.proj_in.weight"]) == 2
    down = ["CrossAttnDownBlock2D" if attention else "DownBlock2D" for attention in attends]
    up = ["CrossAttnUpBlock2D" if attention else "UpBlock2D" for attention in reversed(attends)]
    config = {
        "sample_size": 64,
        "in_channels": 4,
        "out_channels": unet["out.2.weight"][0],
        "block_out_channels": channels,
        "layers_per_block": per_block,
        "down_block_types": down,
        "up_block_types": up,
        "cross_attention_dim": unet["middle_block.1.transformer_blocks.0.attn2.to_k.weight"][1],
        "use_linear_projection": linear,
        # Despite its name the number of heads: 8 of them in version 1, heads of 64 in version 2.
        "attention_head_dim": [max(1, width // 64) for width in channels] if linear else 8,
    }
    return config, linear


def _vae_config(shapes: dict[str, tuple[int, ...]]) -> dict[str, Any]:
    encoder = f"{VAE_PREFIX}encoder."
    block = re.compile(re.escape(encoder) + r"down\.(\d+)\.block\.(\d+)\.")
    found = [(int(m[1]), int(m[2])) for name in shapes if (m := block.match(name))]
    stages = 1 + max(stage for stage, _ in found)
    return {
        "in_channels": shapes[f"{encoder}conv_in.weight"][1],
        "out_channels": shapes[f"{VAE_PREFIX}decoder.conv_out.weight"][0],
        "latent_channels": shapes[f"{VAE_PREFIX}decoder.conv_in.weight"][1],
        "block_out_channels": [shapes[f"{encoder}down.{i}.block.0.conv1.weight"][0] for i in range(stages)],
        "layers_per_block": 1 + max(block for _, block in found),
        "down_block_types": ["DownEncoderBlock2D"] * stages,
        "up_block_types": ["UpDecoderBlock2D"] * stages,
        "scaling_factor": LATENT_SCALE,
        "sample_size": 512,
    }


def _text_config(shapes: dict[str, tuple[int, ...]]) -> tuple[dict[str, Any], bool]:
    """Config of the text encoder, and whether it is OpenCLIP's (Stable Diffusion 2.x)."""
    open_clip = f"{OPEN_CLIP_PREFIX}token_embedding.weight" in shapes
    if open_clip:
        prefix = f"{OPEN_CLIP_PREFIX}transformer.resblocks."
        token = f"{OPEN_CLIP_PREFIX}token_embedding.weight"
        position, hidden = f"{OPEN_CLIP_PREFIX}positional_embedding", "0.mlp.c_fc.weight"
    else:
        start = CLIP_PREFIX
        if f"{start}final_layer_norm.weight" not in shapes:  # some early checkpoints leave `text_model` out
            start = start.removesuffix("text_model.")
        prefix = f"{start}encoder.layers."
        token = f"{start}embeddings.token_embedding.weight"
        position, hidden = f"{start}embeddings.position_embedding.weight", "0.mlp.fc1.weight"
    layers = 1 + max(int(n.removeprefix(prefix).split(".")[0]) for n in shapes if n.startswith(prefix))
    words, width = shapes[token]
    if open_clip and layers != 23:
        # Stable Diffusion 2.x reads the penultimate layer; a file with 23 has already lost the last one.
        layers -= 1
    config = {
        "vocab_size": words,
        "hidden_size": width,
        "intermediate_size": shapes[prefix + hidden][0],
        "num_hidden_layers": layers,
        "num_attention_heads": max(1, width // 64),
        "max_position_embeddings": shapes[position][0],
        "hidden_act": "gelu" if open_clip else "quick_gelu",
        "projection_dim": width,
        "bos_token_id": CLIP_WORDS - 2,
        "eos_token_id": CLIP_WORDS - 1,
        "pad_token_id": 0 if open_clip else CLIP_WORDS - 1,
    }
    return config, open_clip


def _is_pickle(path: Path, start: bytes) -> bool:
    """By suffix or by content: torch writes a zip archive, older versions a bare pickle (protocol 2 to 5)."""
    bare = start[:1] == b"\x80" and start[1:2] in b"\x02\x03\x04\x05" and start[8:9] != b"{"
    return path.suffix.lower() in PICKLE_SUFFIXES or start.startswith(b"PK\x03\x04") or bare


def _fail(path: Path, what: str) -> NoReturn:
    msg = f"{path.name} {what}."
    raise ModelError(msg)
