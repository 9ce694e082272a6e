"""Single files: what a file is, and the configs behind the shapes of its weights.

diffusers' own `from_single_file` was tried (0.42, offline, on the files of the tests). Given a folder with configs of
the same shape it reads the two plain forms. Without one it looks for configs on the network, since it infers no shapes.
It refuses wrapped names, EMA-only files, text encoders without `text_model` and files without an autoencoder as
"weights missing", ends in "Cannot copy out of meta tensor" where one weight is missing, and loads NaN and scaled float8
without a word. Its tables work in one direction only, and exporting needs the other. Hence this reader.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from ..errors import ModelError
from .keys import CLIP_PREFIX, OPEN_CLIP_PREFIX, UNET_PREFIX, VAE_PREFIX
from .parts import text_part, unet_part, vae_part
from .weights import SUPPORTED, Weights

CLIP_WORDS = 49408
LATENT_SCALE = 0.18215
QUANTISED = (
    ".absmax",
    ".quant_state.",
    ".quant_map",
    ".SCB",
    ".qweight",
    ".qzeros",
    ".weight_scale_inv",
    ".weight_packed",
)
LORAS = ("lora_", ".lora.", "lora_A.", ".hada_w1", ".lokr_w1", "lycoris_", ".oft_blocks", ".oft_diag", ".dora_scale")
CONTROLS = ("control_model.", "controlnet_cond_embedding.", "input_hint_block.", "lllite_")
ADAPTERS = ("ip_adapter.", "image_proj.", "motion_modules.", "adapter.body.")


@dataclass(frozen=True)
class Anatomy:
    """What a checkpoint consists of.

    weights: those of the three networks under the original names. generation: 1 or 2 of Stable Diffusion.
    unet, vae, text: keyword arguments for the configs; vae is {} where a separate one is used. open_clip: the text
    encoder has OpenCLIP's names, not transformers'.
    """

    weights: Weights
    generation: int
    unet: dict[str, Any]
    vae: dict[str, Any]
    text: dict[str, Any]
    open_clip: bool


def anatomy(weights: Weights, *, needs_vae: bool = True) -> Anatomy:
    """Find the networks in the file, and their configs from the shapes; or say what the file is instead."""
    _refuse_others(weights)
    try:
        unet, vae, text = (find(weights.shapes) for find in (unet_part, vae_part, text_part))
        named = weights.renamed({**unet, **(vae if needs_vae else {}), **text})
        _refuse_parts(weights.label, named.shapes, bool(unet), bool(vae), bool(text), needs_vae)
        unet_config, linear = _unet_config(named.shapes)
        text_config, open_clip, hidden = _text_config(named.shapes)
        vae_config = autoencoder_config(named.shapes) if needs_vae else {}
    except (KeyError, ValueError, IndexError) as error:
        msg = f"{weights.label} lacks weights that every Stable Diffusion has ({error}); {SUPPORTED}."
        raise ModelError(msg) from error
    if text_config["vocab_size"] != CLIP_WORDS:
        words = text_config["vocab_size"]
        raise ModelError(f"{weights.label} has a vocabulary of {words} words, not CLIP's; give a diffusers folder.")
    # By what the networks are, not by what they are called: converters give the text encoder of 2.x the names of 1.x.
    second = open_clip or linear or hidden == 1024
    text_config |= {"hidden_act": "gelu", "pad_token_id": 0} if second else {}
    unet_config["upcast_attention"] = linear and second
    return Anatomy(named, 1 + second, unet_config, vae_config, text_config, open_clip)


def separate_autoencoder(weights: Weights) -> tuple[Weights, dict[str, Any]]:
    """A file's autoencoder, alone or in a checkpoint, under the original names, and its config from the shapes."""
    if any("conditioner.embedders." in name or "double_blocks." in name for name in weights.shapes):
        raise ModelError(
            f"{weights.label} belongs to another kind of model; use an autoencoder of Stable Diffusion 1.x or 2.x."
        )
    try:
        named = weights.renamed(vae_part(weights.shapes))
        if not named.files:
            raise ModelError(f"{weights.label} holds no autoencoder; give --vae a file or folder with one.")
        return named, autoencoder_config(named.shapes)
    except (KeyError, ValueError, IndexError) as error:
        raise ModelError(f"{weights.label} is no autoencoder of Stable Diffusion ({error}); use another.") from error


def _refuse_others(weights: Weights) -> None:
    """Name the kinds of model that people mistake for a Stable Diffusion 1.x or 2.x checkpoint."""
    names = weights.shapes

    def has(*parts: str) -> bool:
        return any(part in name for name in names for part in parts)

    kind = None
    if has(*QUANTISED):
        kind = "quantised (nf4, int8 or the like), which only some programs can read; use a float16 version"
    elif has(*LORAS):
        kind = "a LoRA, which changes a model and is none itself"
    elif has(*CONTROLS):
        kind = "a ControlNet, which steers a model and is none itself"
    elif has(*ADAPTERS):
        kind = "an adapter, which changes a model and is none itself"
    elif has("double_blocks."):
        kind = "a Flux checkpoint"
    elif has("joint_blocks."):
        kind = "a Stable Diffusion 3 checkpoint"
    elif has("conditioner.embedders.0.") and not has("conditioner.embedders.1."):
        kind = "an SDXL refiner"
    elif has("conditioner.embedders.", "add_embedding.") or (has("label_emb.") and not text_part(names)):
        kind = "an SDXL checkpoint"
    elif has("emb_params") or (
        len(names) < 4 and all(len(shape) < 3 for shape in names.values()) and has("<", "clip_")
    ):
        kind = "a textual inversion, a word for a model and none itself"
    if kind:
        raise ModelError(f"{weights.label} is {kind}; {SUPPORTED}.")


def _refuse_parts(
    label: str, shapes: dict[str, tuple[int, ...]], unet: bool, vae: bool, text: bool, needs_vae: bool
) -> None:
    """Say which of the three networks a file lacks, or what the U-Net is made for."""
    entry = shapes.get(f"{UNET_PREFIX}input_blocks.0.0.weight", (0, 4))
    kind, way_out = None, SUPPORTED
    if len(entry) > 1 and entry[1] == 9:
        kind = "an inpainting checkpoint"
    elif len(entry) > 1 and entry[1] != 4:
        kind = f"a checkpoint with {entry[1]} input channels (depth or instruction model)"
    elif any(name.startswith(f"{UNET_PREFIX}label_emb.") for name in shapes):
        kind = "an unCLIP checkpoint"
    elif not unet and vae and not text:
        kind, way_out = "an autoencoder (VAE) alone", "give it as --vae (`vae=`) beside a checkpoint"
    elif not unet and text:
        kind = "a checkpoint without its U-Net" if vae else "a text encoder alone"
    elif not unet:
        kind = "no Stable Diffusion checkpoint"
    elif not text and not vae:
        kind, way_out = "a U-Net alone", "give a whole checkpoint, or the diffusers folder that it is a part of"
    elif not text:
        kind, way_out = "a checkpoint without its text encoder", "use a version that has it, or a diffusers folder"
    elif not vae and needs_vae:
        kind, way_out = "a checkpoint without its autoencoder", "give one with --vae FILE (in Python `vae=`)"
    if kind:
        raise ModelError(f"{label} is {kind}; {way_out}.")


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


def autoencoder_config(shapes: dict[str, tuple[int, ...]]) -> dict[str, Any]:
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


def _text_config(shapes: dict[str, tuple[int, ...]]) -> tuple[dict[str, Any], bool, int]:
    """Config of the text encoder, whether it has OpenCLIP's names, and its width."""
    open_clip = f"{OPEN_CLIP_PREFIX}token_embedding.weight" in shapes
    if open_clip:
        prefix = f"{OPEN_CLIP_PREFIX}transformer.resblocks."
        token = f"{OPEN_CLIP_PREFIX}token_embedding.weight"
        position, hidden = f"{OPEN_CLIP_PREFIX}positional_embedding", "0.mlp.c_fc.weight"
    else:
        prefix = f"{CLIP_PREFIX}encoder.layers."
        token = f"{CLIP_PREFIX}embeddings.token_embedding.weight"
        position, hidden = f"{CLIP_PREFIX}embeddings.position_embedding.weight", "0.mlp.fc1.weight"
    layers = 1 + max(int(n.removeprefix(prefix).split(".")[0]) for n in shapes if n.startswith(prefix))
    words, width = shapes[token]
    # Stable Diffusion 2.x reads the penultimate layer. A file with 23 has lost the last one already, and those with
    # transformers' names mostly have, too.
    layers -= (layers != 23) if open_clip else (width == 1024 and layers == 24)
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
    return config, open_clip, width
