"""Names of the weights: diffusers' layout against the original (LDM) layout of single-file checkpoints.

Each `*_names` function takes the names of one component in diffusers' layout and returns {diffusers name:
original name}. One table serves both directions: loading looks its weights up by it, exporting renames by it. Raises
ValueError for a U-Net that the original layout cannot hold.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

UNET_PREFIX = "model.diffusion_model."
VAE_PREFIX = "first_stage_model."
CLIP_PREFIX = "cond_stage_model.transformer.text_model."
OPEN_CLIP_PREFIX = "cond_stage_model.model."
# SDXL's second text encoder in both spellings; its first one is read under CLIP_PREFIX like any other.
SECOND_CLIP_PREFIX = "conditioner.embedders.1.transformer.text_model."
SECOND_OPEN_CLIP_PREFIX = "conditioner.embedders.1.model."
TRANSPOSED = -1  # in place of a third: the file has the matrix the other way round
# What our export adds: a weight with as many values as the U-Net has heads, which the shape of no layer tells.
HEADS_KEY = "dragtext.num_heads"

_UNET_HEAD = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "mid_block.resnets.0": "middle_block.0",
    "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.1": "middle_block.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
_UNET_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_VAE_ATTENTION = {
    "group_norm": "norm",
    "to_q": "q",
    "to_k": "k",
    "to_v": "v",
    "to_out.0": "proj_out",
    # as older diffusers wrote them
    "query": "q",
    "key": "k",
    "value": "v",
    "proj_attn": "proj_out",
}
_OPEN_CLIP = {
    "embeddings.token_embedding.weight": "token_embedding.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
    "final_layer_norm": "ln_final",
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "self_attn.out_proj": "attn.out_proj",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}


def unet_names(names: Iterable[str]) -> dict[str, str]:
    """Names of UNet2DConditionModel weights -> names under `model.diffusion_model.` included."""
    names = list(names)
    per_block = 1 + max(int(m[1]) for n in names if (m := re.match(r"down_blocks\.0\.resnets\.(\d+)\.", n)))
    attending = {m[1] for n in names if (m := re.match(r"(up_blocks\.\d+)\.attentions\.", n))}

    def place(name: str) -> str:
        """Where the module that owns the weight sits, with the rest of the name unchanged."""
        if m := re.match(r"(down|up)_blocks\.(\d+)\.(\w+)\.(\d+)\.(.*)", name):
            side, stage, kind, index, rest = m[1], int(m[2]), m[3], int(m[4]), m[5]
            if kind == "downsamplers":
                return f"input_blocks.{(stage + 1) * (per_block + 1)}.0.op{rest.removeprefix('conv')}"
            if kind == "upsamplers":
                slot = 2 if f"up_blocks.{stage}" in attending else 1
                return f"output_blocks.{stage * (per_block + 1) + per_block}.{slot}.{rest}"
            blocks, first = ("input_blocks", 1) if side == "down" else ("output_blocks", 0)
            return f"{blocks}.{first + stage * (per_block + 1) + index}.{int(kind == 'attentions')}.{rest}"
        return _replace_start(name, _UNET_HEAD)

    def rename(name: str) -> str:
        original = place(name)
        if ".resnets." in name:
            owner, part, kind = original.rsplit(".", 2)
            return f"{UNET_PREFIX}{owner}.{_UNET_RESNET[part]}.{kind}"
        return UNET_PREFIX + original

    renamed = {name: rename(name) for name in names}
    if len(set(renamed.values())) < len(renamed):
        raise ValueError("the U-Net's stages have different numbers of blocks")
    return renamed


def vae_names(names: Iterable[str]) -> dict[str, str]:
    """Names of AutoencoderKL weights -> names under `first_stage_model.` included.

    The projections of the attention layer are matrices in one layout and 1x1 convolutions in the other.
    """
    names = list(names)
    last = max(int(m[1]) for n in names if (m := re.match(r"decoder\.up_blocks\.(\d+)\.", n)))

    def rename(name: str) -> str:
        name = name.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
        name = re.sub(r"down_blocks\.(\d+)\.resnets\.", r"down.\1.block.", name)
        name = re.sub(r"up_blocks\.(\d+)\.resnets\.", lambda m: f"up.{last - int(m[1])}.block.", name)
        name = re.sub(r"down_blocks\.(\d+)\.downsamplers\.0\.", r"down.\1.downsample.", name)
        name = re.sub(r"up_blocks\.(\d+)\.upsamplers\.0\.", lambda m: f"up.{last - int(m[1])}.upsample.", name)
        name = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", name)
        if m := re.match(r"(\w+)\.mid_block\.attentions\.0\.(.*)", name):
            name = f"{m[1]}.mid.attn_1.{_replace_start(m[2], _VAE_ATTENTION)}"
        return VAE_PREFIX + name

    return {name: rename(name) for name in names}


def clip_names(names: Iterable[str], prefix: str = CLIP_PREFIX) -> dict[str, str]:
    """Names of CLIPTextModel weights -> Stable Diffusion 1.x names.

    Newer transformers drop the leading `text_model.`; both spellings are understood.
    """
    return {name: prefix + name.removeprefix("text_model.") for name in names}


def second_clip_names(names: Iterable[str]) -> dict[str, str]:
    """Names of CLIPTextModelWithProjection weights -> names that SDXL's second encoder has with transformers' own."""
    return clip_names(names, SECOND_CLIP_PREFIX)


def open_clip_names(names: Iterable[str], prefix: str = OPEN_CLIP_PREFIX) -> dict[str, tuple[str, int | None]]:
    """Names of CLIPTextModel weights -> (Stable Diffusion 2.x name, which third of its rows, None or TRANSPOSED).

    OpenCLIP stacks the query, key and value projections of a layer into one `in_proj`.
    """

    def rename(name: str) -> tuple[str, int | None]:
        name = name.removeprefix("text_model.")
        if name == "text_projection.weight":
            return f"{prefix}text_projection", TRANSPOSED
        if not (m := re.match(r"encoder\.layers\.(\d+)\.(.*)", name)):
            return prefix + _replace_start(name, _OPEN_CLIP), None
        block = f"{prefix}transformer.resblocks.{m[1]}."
        if stacked := re.match(r"self_attn\.([qkv])_proj\.(weight|bias)", m[2]):
            return f"{block}attn.in_proj_{stacked[2]}", "qkv".index(stacked[1])
        return block + _replace_start(m[2], _OPEN_CLIP), None

    return {name: rename(name) for name in names}


def second_open_clip_names(names: Iterable[str]) -> dict[str, tuple[str, int | None]]:
    """Names of CLIPTextModelWithProjection weights -> those of SDXL's second encoder, as for `open_clip_names`."""
    return open_clip_names(names, SECOND_OPEN_CLIP_PREFIX)


def _replace_start(name: str, table: dict[str, str]) -> str:
    for start, other in table.items():
        if name == start or name.startswith(start + "."):
            return other + name.removeprefix(start)
    return name
