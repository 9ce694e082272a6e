"""Where the networks of a single file are: under whatever prefix, in either layout, as EMA weights.

The files of the field wrap the same weights in `state_dict.` or `module.`, name the networks `unet.`, `vae.` and
`text_encoder.`, keep the averaged U-Net only, or mix all that. So the prefixes are not looked up: each network is found
by one weight that only it has, and what precedes that weight's name is the prefix.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping

from .keys import (
    CLIP_PREFIX,
    OPEN_CLIP_PREFIX,
    SECOND_CLIP_PREFIX,
    SECOND_OPEN_CLIP_PREFIX,
    UNET_PREFIX,
    VAE_PREFIX,
    clip_names,
    second_clip_names,
    unet_names,
    vae_names,
)

_UNET = "input_blocks.0.0.weight"
_UNET_DIFFUSERS = "time_embedding.linear_1.weight"
_UNET_EMA = "diffusion_modelinput_blocks00weight"
_VAE = "encoder.down.0.block.0.conv1.weight"
_VAE_DIFFUSERS = "encoder.down_blocks.0.resnets.0.conv1.weight"
_CLIP = "embeddings.token_embedding.weight"
_OPEN_CLIP = "transformer.resblocks.0.ln_1.weight"
SECOND = ("conditioner.embedders.1.", "text_encoder_2.", "clip_g.")  # before the names of SDXL's second text encoder
# Longest first: the words of a U-Net's names, from which the averaged copy's names have lost the dots.
_WORDS = re.compile(
    r"input_blocks|output_blocks|middle_block|time_embed|transformer_blocks|skip_connection|in_layers|out_layers|emb_layers|"
    r"proj_in|proj_out|proj|to_out|to_[qkv]|attn[12]|norm[123]?|conv|net|out|op|ff|weight|bias|\d+"
)


def unet_part(names: Collection[str]) -> dict[str, str]:
    """{name under `model.diffusion_model.`: name in the file}, {} without a U-Net."""
    if (prefix := _prefix(names, _UNET, UNET_PREFIX, never="control_model.")) is not None:
        return _under(names, prefix, UNET_PREFIX)
    if (prefix := _prefix(names, _UNET_DIFFUSERS, "unet.", never="controlnet.")) is not None:
        return _converted(names, prefix, unet_names)
    if (prefix := _prefix(names, _UNET_EMA, "model_ema.")) is not None:
        start = f"{prefix}diffusion_model"
        return {UNET_PREFIX + _dotted(name[len(start) :]): name for name in names if name.startswith(start)}
    return {}


def vae_part(names: Collection[str]) -> dict[str, str]:
    """{name under `first_stage_model.`: name in the file}, {} without an autoencoder."""
    if (prefix := _prefix(names, _VAE, VAE_PREFIX)) is not None:
        return _under(names, prefix, VAE_PREFIX)
    if (prefix := _prefix(names, _VAE_DIFFUSERS, "vae.")) is not None:
        return _converted(names, prefix, vae_names)
    return {}


def text_part(names: Collection[str]) -> dict[str, str]:
    """{name under `cond_stage_model.`, transformers' or OpenCLIP's: name in the file}, {} without a text encoder.

    Of SDXL's two it is the first.
    """
    names = [name for name in names if not any(mark in name for mark in SECOND)]
    if (prefix := _prefix(names, _CLIP, CLIP_PREFIX)) is not None:
        return _converted(names, prefix, clip_names)
    if (prefix := _prefix(names, _OPEN_CLIP, OPEN_CLIP_PREFIX)) is not None:
        return _under(names, prefix, OPEN_CLIP_PREFIX)
    return {}


def second_text_part(names: Collection[str]) -> dict[str, str]:
    """{name under one of SDXL's prefixes of the second text encoder: name in the file}, {} without one."""
    names = [name for name in names if any(mark in name for mark in SECOND)]
    if (prefix := _prefix(names, _CLIP, SECOND_CLIP_PREFIX)) is not None:
        # The projection of the pooled vector stands beside `text_model`, not in it.
        return _converted(names, prefix.removesuffix("text_model."), second_clip_names)
    if (prefix := _prefix(names, _OPEN_CLIP, SECOND_OPEN_CLIP_PREFIX)) is not None:
        return _under(names, prefix, SECOND_OPEN_CLIP_PREFIX)
    return {}


def _prefix(names: Collection[str], anchor: str, usual: str, never: str = "\0") -> str | None:
    """What precedes the anchor: the usual prefix where there are several, an averaged copy last; None without any."""
    found = {name[: -len(anchor)] for name in names if name.endswith(anchor)}
    found = {prefix for prefix in found if (not prefix or prefix.endswith(".")) and never not in prefix}
    return min(found, key=lambda p: (not p.endswith(usual), "ema" in p, len(p), p), default=None)


def _under(names: Iterable[str], prefix: str, canonical: str) -> dict[str, str]:
    return {canonical + name[len(prefix) :]: name for name in names if name.startswith(prefix)}


def _converted(
    names: Iterable[str], prefix: str, convert: Callable[[Iterable[str]], Mapping[str, str]]
) -> dict[str, str]:
    inner = {name[len(prefix) :]: name for name in names if name.startswith(prefix)}
    return {original: inner[name] for name, original in convert(inner).items()}


def _dotted(name: str) -> str:
    """`input_blocks110in_layers0weight` -> `input_blocks.11.0.in_layers.0.weight`."""
    words = _WORDS.findall(name)
    if words[0] in ("input_blocks", "output_blocks"):
        words[1:2] = [words[1][:-1], words[1][-1]]  # the place inside a block has one digit
    return ".".join(words)
