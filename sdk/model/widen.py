"""Networks of other widths that compute the same, since hosts take the sizes of Stable Diffusion 1.x for granted.

A channel that stands there several times leaves every normalisation as it was: mean and variance of groups and layers
are those of the channel alone. So a wider layer writes each of its outputs several times and reads of its inputs the
first copy only. Attention heads grow by zeros, and the queries make up for the root of the width that attention divides
by. Blocks that are added pass on what they get.
"""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor

from ..errors import ModelError
from .checkpoint import LATENT_SCALE

GROUPS = 32  # of every normalisation in the original code, where it is no parameter
CLIP_L = {"hidden_size": 768, "num_attention_heads": 12, "num_hidden_layers": 12, "intermediate_size": 3072}
UNET_WIDTH, UNET_HEADS = 320, 8
NO_SPREAD = -30.0  # logarithm of a variance; the least that the original code takes
AUTOENCODER_WIDTHS, AUTOENCODER_LAYERS = [128, 256, 512, 512], 2
State = dict[str, Tensor]


def clip_l(text_encoder: Any) -> State:
    """A CLIPTextModel as an equal one of CLIP ViT-L/14's sizes, whose outputs stand there 768 / width times each.

    Without the leading `text_model.` of the names. Raises ModelError for one that does not fit.
    """
    config = text_encoder.config
    width, heads, layers = config.hidden_size, config.num_attention_heads, config.num_hidden_layers
    times, size = CLIP_L["hidden_size"] // width, CLIP_L["hidden_size"] // CLIP_L["num_attention_heads"]
    if (
        CLIP_L["hidden_size"] % width
        or any(getattr(config, name) > most for name, most in CLIP_L.items())
        or width // heads > size
        or (config.hidden_act, config.layer_norm_eps) != ("quick_gelu", 1e-5)
    ):
        raise ModelError(f"The text encoder of width {width} does not fit into that of Stable Diffusion 1.x.")
    inner, written, read = (
        _heads(heads, width // heads, CLIP_L["num_attention_heads"], size),
        _written(width, times),
        _read(width, times),
    )
    middle = _padded(config.intermediate_size, CLIP_L["intermediate_size"])
    state = {}
    for name, value in _plain(text_encoder).items():
        if name.endswith("position_ids"):
            continue
        if "embedding" in name:
            rows, columns = torch.arange(len(value)), written
        elif re.search(r"\.[qkv]_proj\.", name):
            rows, columns = inner, read
        elif ".out_proj." in name:
            rows, columns = written, inner
        elif ".fc1." in name:
            rows, columns = middle, read
        else:  # fc2 and the norms
            rows, columns = written, middle
        scale = (size / (width // heads)) ** 0.5 if ".q_proj." in name else 1.0
        state[name.removeprefix("text_model.")] = _grown(value, rows, columns) * scale
    for layer in range(layers, CLIP_L["num_hidden_layers"]):
        for name in [name for name in state if name.startswith("encoder.layers.0.")]:
            added = name.replace(".0.", f".{layer}.", 1)
            state[added] = torch.full_like(state[name], float("layer_norm" in name and name.endswith("weight")))
    return state


def wide_unet(unet: Any, context: int, times: int, heads: int) -> State:
    """A UNet2DConditionModel as an equal one with `times` as many channels and `heads` attention heads.

    It reads text of width `context`, in which each value stands there several times. In diffusers' names.
    """
    config = unet.config
    text = _read(config.cross_attention_dim, context // config.cross_attention_dim)
    state = {}
    for name, value in _plain(unet).items():
        rows, columns, scale = _written(len(value), times), None, 1.0
        if name.startswith("conv_out."):
            rows = torch.arange(len(value))
        if value.ndim > 1:
            columns = torch.arange(value.shape[1]) if name.startswith("conv_in.") else _read(value.shape[1], times)
        if part := re.search(r"\.(attn[12])\.to_(q|k|v|out)\b", name):
            channels = len(value)
            size, wide = channels // config.attention_head_dim, channels * times // heads
            inner = _heads(config.attention_head_dim, size, heads, wide)
            if part[2] == "out":
                columns = inner
            else:
                rows = inner
                columns = text if part[1] == "attn2" and part[2] != "q" else columns
                scale = (wide / size) ** 0.5 if part[2] == "q" else 1.0
        state[name] = _grown(value, rows, columns) * scale
    return state


def unet_factor(unet: Any) -> int:
    """How many times the channels of a U-Net must stand there for 320; raises ModelError where they cannot."""
    widths, heads = list(unet.config.block_out_channels), unet.config.attention_head_dim
    times = UNET_WIDTH // widths[0]
    if UNET_WIDTH % widths[0] or heads > UNET_HEADS or any(w // heads > times * w // UNET_HEADS for w in widths):
        raise ModelError(
            f"A U-Net of {widths[0]} channels and {heads} heads cannot be widened to the {UNET_WIDTH} channels and "
            f"{UNET_HEADS} heads that Forge wants; export it for A1111."
        )
    return times


def widened_autoencoder(vae: Any) -> tuple[State, list[int]]:
    """An AutoencoderKL with fewer than 32 groups as an equal one with 32, and the widths of its stages.

    The channels that are added are zero everywhere, so the first groups hold what they held and normalise as they did.
    Returns a state dict in diffusers' layout.
    """
    from diffusers import AutoencoderKL

    groups = int(vae.config.norm_num_groups)
    if GROUPS % groups:
        raise ModelError(f"The autoencoder normalises in {groups} groups, which do not divide {GROUPS}.")
    factor = GROUPS // groups
    widths = [factor * width for width in vae.config.block_out_channels]
    state = _plain(vae)
    if factor == 1:
        return state, widths
    config = {**vae.config, "block_out_channels": widths, "norm_num_groups": GROUPS}
    with torch.device("meta"):
        wide: Any = AutoencoderKL.from_config(config)
    # Attention divides by the root of its width, which grows; the queries make up for it.
    state = {name: t * factor**0.5 if ".attentions.0.to_q." in name else t for name, t in state.items()}
    grown = {}
    for name, empty in wide.state_dict().items():
        grown[name] = torch.zeros(empty.shape)
        grown[name][tuple(slice(side) for side in state[name].shape)] = state[name]
    return grown, widths


def rescaled_autoencoder(state: State, scale: float) -> State:
    """An autoencoder whose latents are multiplied by `scale` as one for Stable Diffusion's 0.18215."""
    factor = scale / LATENT_SCALE
    weight, bias = state["quant_conv.weight"].clone(), state["quant_conv.bias"].clone()
    half = len(bias) // 2  # the means; the other half are logarithms of variances
    weight[:half] *= factor
    bias[:half] *= factor
    bias[half:] += 2 * torch.tensor(factor).log()
    changed = {"quant_conv.weight": weight, "quant_conv.bias": bias}
    return state | changed | {"post_quant_conv.weight": state["post_quant_conv.weight"] / factor}


def narrowed_autoencoder(state: State) -> State:
    """The autoencoder without a spread about its means, which are what is read here; hosts sample from the spread.

    That of Stable Diffusion is far too small to be seen. One that was trained on its means alone may have any, and
    img2img would begin with noise.
    """
    weight, bias = state["quant_conv.weight"].clone(), state["quant_conv.bias"].clone()
    half = len(bias) // 2
    weight[half:] = 0
    bias[half:] = NO_SPREAD
    return state | {"quant_conv.weight": weight, "quant_conv.bias": bias}


def deeper_autoencoder(state: State, widths: list[int], layers: int) -> State:
    """The autoencoder with Stable Diffusion's two layers per block; ModelError for one of other widths or with more."""
    if widths != AUTOENCODER_WIDTHS or layers > AUTOENCODER_LAYERS:
        raise ModelError(f"An autoencoder of the widths {widths} is not the one that Forge wants; export it for A1111.")
    added: State = {}
    for side, blocks, present in (("encoder", "down_blocks", layers), ("decoder", "up_blocks", layers + 1)):
        for block in range(len(widths)):
            width = widths[block] if side == "encoder" else widths[::-1][block]
            for layer in range(present, present + AUTOENCODER_LAYERS - layers):
                start = f"{side}.{blocks}.{block}.resnets.{layer}"
                for norm, conv in (("norm1", "conv1"), ("norm2", "conv2")):
                    added[f"{start}.{norm}.weight"] = torch.ones(width)
                    added[f"{start}.{norm}.bias"] = torch.zeros(width)
                    added[f"{start}.{conv}.weight"] = torch.zeros(width, width, 3, 3)
                    added[f"{start}.{conv}.bias"] = torch.zeros(width)
    return state | added


def _plain(module: Any) -> State:
    return {name: tensor.detach().cpu().float() for name, tensor in module.state_dict().items()}


def _grown(value: Tensor, rows: Tensor, columns: Tensor | None) -> Tensor:
    """Rows and columns of a weight taken by number; -1 stands for zeros."""
    value = torch.cat([value, torch.zeros_like(value[:1])])[rows]
    if columns is None or value.ndim == 1:
        return value
    return torch.cat([value, torch.zeros_like(value[:, :1])], 1)[:, columns]


def _written(width: int, times: int) -> Tensor:
    return torch.arange(width).repeat_interleave(times)


def _read(width: int, times: int) -> Tensor:
    first = torch.full((width * times,), -1)
    first[::times] = torch.arange(width)
    return first


def _heads(heads: int, size: int, more: int, wider: int) -> Tensor:
    grown = torch.full((more, wider), -1)
    grown[:heads, :size] = torch.arange(heads * size).reshape(heads, size)
    return grown.reshape(-1)


def _padded(width: int, wider: int) -> Tensor:
    return torch.cat([torch.arange(width), torch.full((wider - width,), -1)])
