"""Single files: what a file is, and the configs behind the shapes of its weights.

diffusers' own `from_single_file` was tried (0.42, offline, on the files of the tests). Given a folder with configs of
the same shape it reads the two plain forms. Without one it looks for configs on the network, since it infers no shapes.
It refuses wrapped names, EMA-only files, text encoders without `text_model` and files without an autoencoder as
"weights missing", ends in "Cannot copy out of meta tensor" where one weight is missing, and loads NaN and scaled float8
without a word. Its tables work in one direction only, and exporting needs the other. Hence this reader.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, Literal

from ..errors import ModelError
from .keys import (
    CLIP_PREFIX,
    OPEN_CLIP_PREFIX,
    SECOND_CLIP_PREFIX,
    SECOND_OPEN_CLIP_PREFIX,
    UNET_PREFIX,
    VAE_PREFIX,
)
from .parts import second_text_part, text_part, unet_part, vae_part
from .prompt import SIZES
from .weights import SUPPORTED, Weights

CLIP_WORDS = 49408
LATENT_SCALE, XL_LATENT_SCALE = 0.18215, 0.13025
XL_TIME_WIDTH = 256  # values per size that SDXL is told, where the shapes do not say
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
# Other noise schedules under SDXL's shapes: Playground 2.5, CosXL.
EDM = ("edm_mean", "edm_std", "edm_vpred.")
Family = Literal["1.x", "2.x", "xl"]
ADAPTERS = ("ip_adapter.", "image_proj.", "motion_modules.", "adapter.body.")


@dataclass(frozen=True)
class Anatomy:
    """What a checkpoint consists of.

    weights: those of all networks under the original names. family: of Stable Diffusion.
    unet, vae, text, second: keyword arguments for the configs; vae is {} where a separate one is used, second (SDXL's
    other text encoder) in the other families. open_clip, second_open_clip: the text encoder has OpenCLIP's names, not
    transformers'.
    """

    weights: Weights
    family: Family
    unet: dict[str, Any]
    vae: dict[str, Any]
    text: dict[str, Any]
    open_clip: bool
    second: dict[str, Any]
    second_open_clip: bool

    @property
    def latent_scale(self) -> float:
        return XL_LATENT_SCALE if self.family == "xl" else LATENT_SCALE


def anatomy(weights: Weights, *, needs_vae: bool = True) -> Anatomy:
    """Find the networks in the file, and their configs from the shapes; or say what the file is instead."""
    _refuse_others(weights)
    try:
        unet, vae, text, other = (find(weights.shapes) for find in (unet_part, vae_part, text_part, second_text_part))
        named = weights.renamed({**unet, **(vae if needs_vae else {}), **text, **other})
        _refuse_parts(weights.label, named.shapes, bool(unet), bool(vae), bool(text), bool(other), needs_vae)
        unet_config, linear = _unet_config(named.shapes)
        text_config, open_clip = _text_config(named.shapes, CLIP_PREFIX, OPEN_CLIP_PREFIX)
        second, second_open_clip = _second_config(named.shapes, unet_config) if other else ({}, False)
        vae_config = autoencoder_config(named.shapes) if needs_vae else {}
    except (KeyError, ValueError, IndexError) as error:
        msg = f"{weights.label} lacks weights that every Stable Diffusion has ({error}); {SUPPORTED}."
        raise ModelError(msg) from error
    if text_config["vocab_size"] != CLIP_WORDS:
        words = text_config["vocab_size"]
        raise ModelError(f"{weights.label} has a vocabulary of {words} words, not CLIP's; give a diffusers folder.")
    family: Family = "xl"
    if not second:
        # By what the networks are, not by what they are called: converters give the text encoder of 2.x the names of
        # 1.x. 2.x reads the penultimate layer; a file with 23 has lost the last one already, and those with
        # transformers' names mostly have, too.
        layers, wide = text_config["num_hidden_layers"], text_config["hidden_size"] == 1024
        text_config["num_hidden_layers"] -= (layers != 23) if open_clip else (wide and layers == 24)
        family = "2.x" if open_clip or linear or wide else "1.x"
        text_config |= {"hidden_act": "gelu", "pad_token_id": 0} if family == "2.x" else {}
        unet_config["upcast_attention"] = linear and family == "2.x"
    return Anatomy(named, family, unet_config, vae_config, text_config, open_clip, second, second_open_clip)


def separate_autoencoder(weights: Weights, scale: float) -> tuple[Weights, dict[str, Any]]:
    """A file's autoencoder, alone or in a checkpoint, under the original names, and its config from the shapes.

    scale: the latents' factor that it must have; files do not say it, but the checkpoint around it tells the family.
    """

    def has(mark: str) -> bool:
        return any(mark in name for name in weights.shapes)

    xl = math.isclose(scale, XL_LATENT_SCALE, rel_tol=1e-3)
    if has("double_blocks.") or has("cond_stage_model." if xl else "conditioner.embedders."):
        raise ModelError(f"{weights.label} belongs to another kind of model; use an autoencoder of this model's kind.")
    try:
        named = weights.renamed(vae_part(weights.shapes))
        if not named.files:
            raise ModelError(f"{weights.label} holds no autoencoder; give --vae a file or folder with one.")
        return named, autoencoder_config(named.shapes)
    except (KeyError, ValueError, IndexError) as error:
        raise ModelError(f"{weights.label} is no autoencoder of Stable Diffusion ({error}); use another.") from error


def _refuse_others(weights: Weights) -> None:
    """Name the kinds of model that people mistake for a checkpoint that can be used."""
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
    elif has("conditioner.embedders.0.model.") and not second_text_part(names):
        kind = "an SDXL refiner"
    elif has(*EDM):
        kind = "made for another noise schedule (EDM: Playground 2.5, CosXL)"
    elif has("label_emb.", "add_embedding.") and not text_part(names) and not second_text_part(names):
        kind = "an SDXL checkpoint without its text encoders"
    elif has("emb_params") or (
        len(names) < 4 and all(len(shape) < 3 for shape in names.values()) and has("<", "clip_")
    ):
        kind = "a textual inversion, a word for a model and none itself"
    if kind:
        raise ModelError(f"{weights.label} is {kind}; {SUPPORTED}.")


def _refuse_parts(
    label: str, shapes: dict[str, tuple[int, ...]], unet: bool, vae: bool, text: bool, second: bool, needs_vae: bool
) -> None:
    """Say which of the networks a file lacks, or what the U-Net is made for."""
    entry = shapes.get(f"{UNET_PREFIX}input_blocks.0.0.weight", (0, 4))
    kind, way_out = None, SUPPORTED
    if len(entry) > 1 and entry[1] == 9:
        kind = "an inpainting checkpoint"
    elif len(entry) > 1 and entry[1] != 4:
        kind = f"a checkpoint with {entry[1]} input channels (depth or instruction model)"
    elif any(name.startswith(f"{UNET_PREFIX}label_emb.") for name in shapes) and not (text and second):
        lacking = "an SDXL checkpoint without its first text encoder"
        kind = lacking if second else "an unCLIP checkpoint, or SDXL's without its second text encoder"
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
    if stages not in (3, 4) or blocks % stages:
        msg = f"the U-Net has {stages} stages, not 3 or 4"
        raise ValueError(msg)
    per_block = blocks // stages - 1
    first = [1 + stage * (per_block + 1) for stage in range(stages)]
    channels = [unet[f"input_blocks.{index}.0.out_layers.3.weight"][0] for index in first]
    attends = [f"input_blocks.{index}.1.proj_in.weight" in unet for index in first]
    depths = _depths(unet, stages, per_block)
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
        "transformer_layers_per_block": depths,
    }
    return config, linear


def _depths(unet: dict[str, tuple[int, ...]], stages: int, per_block: int) -> list[int]:
    """Transformer blocks per attention layer in each stage. Raises ValueError where a stage's own differ."""
    found: dict[str, int] = {}
    for name in unet:
        if m := re.match(r"(\w+(?:\.\d+)?)\.1\.transformer_blocks\.(\d+)\.", name):
            found[m[1]] = max(found.get(m[1], 0), 1 + int(m[2]))
    depths = [found.get(f"input_blocks.{1 + stage * (per_block + 1)}", 1) for stage in range(stages)]
    for place, depth in found.items():
        side, _, number = place.partition(".")
        stage = stages - 1
        if side == "input_blocks":
            stage = (int(number) - 1) // (per_block + 1)
        elif side == "output_blocks":
            stage = stages - 1 - int(number) // (per_block + 1)
        if depth != depths[stage]:
            raise ValueError(f"its transformers in {place} are {depth} blocks deep, not {depths[stage]}")
    return depths


def _second_config(shapes: dict[str, tuple[int, ...]], unet: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """Config of SDXL's second text encoder, and whether it has OpenCLIP's names; completes the U-Net's config."""
    config, open_clip = _text_config(shapes, SECOND_CLIP_PREFIX, SECOND_OPEN_CLIP_PREFIX)
    if open_clip:
        pooled = shapes[f"{SECOND_OPEN_CLIP_PREFIX}text_projection"][1]
    else:
        pooled = shapes[f"{SECOND_CLIP_PREFIX}text_projection.weight"][0]
    config |= {"hidden_act": "gelu", "pad_token_id": 0, "projection_dim": pooled}
    read = shapes[f"{UNET_PREFIX}label_emb.0.0.weight"][1]
    width, rest = divmod(read - pooled, SIZES)
    unet |= {
        "sample_size": 128,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": XL_TIME_WIDTH if rest else width,
        "projection_class_embeddings_input_dim": read,
    }
    return config, open_clip


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


def _text_config(
    shapes: dict[str, tuple[int, ...]], clip_prefix: str, open_clip_prefix: str
) -> tuple[dict[str, Any], bool]:
    """Config of a text encoder with all its layers, and whether it has OpenCLIP's names."""
    open_clip = f"{open_clip_prefix}token_embedding.weight" in shapes
    if open_clip:
        prefix = f"{open_clip_prefix}transformer.resblocks."
        token = f"{open_clip_prefix}token_embedding.weight"
        position, hidden = f"{open_clip_prefix}positional_embedding", "0.mlp.c_fc.weight"
    else:
        prefix = f"{clip_prefix}encoder.layers."
        token = f"{clip_prefix}embeddings.token_embedding.weight"
        position, hidden = f"{clip_prefix}embeddings.position_embedding.weight", "0.mlp.fc1.weight"
    layers = 1 + max(int(n.removeprefix(prefix).split(".")[0]) for n in shapes if n.startswith(prefix))
    words, width = shapes[token]
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
