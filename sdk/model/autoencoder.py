"""An autoencoder from elsewhere: a single file or a diffusers folder, in place of the checkpoint's own."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch

from ..errors import ModelError
from .checkpoint import separate_autoencoder
from .component import matched, read_config, weight_files
from .keys import vae_names
from .weights import Samples, Weights, fill


def load_autoencoder(path: Path, scale: float, device: torch.device) -> tuple[Any, Samples]:
    """An AutoencoderKL in float32, and samples of its weights.

    path: a file with an autoencoder in the original or diffusers' names, alone or in a checkpoint; the folder `vae` of
    a diffusers model, or the model's folder. scale: the latents' factor that the U-Net was trained on, which stays.
    Raises ModelError for anything else, and for an autoencoder that states another factor.
    """
    from diffusers import AutoencoderKL

    if path.is_dir():
        folder = path / "vae" if (path / "vae" / "config.json").is_file() else path
        config = read_config(folder / "config.json", path)
        if (kind := config.get("_class_name", "AutoencoderKL")) != "AutoencoderKL":
            raise ModelError(
                f"{path.name} holds a {kind}; give an AutoencoderKL of the kind that the model has as the vae."
            )
        stated = config.get("scaling_factor")
        if stated is not None and not math.isclose(stated, scale, rel_tol=1e-3):
            raise ModelError(
                f"{path.name} scales latents by {stated} and the model by {scale}; give an autoencoder of its kind."
            )
        return load_autoencoder_folder(folder, path.name, {**config, "scaling_factor": scale}, device)
    weights, config = separate_autoencoder(Weights.of(path.name, [path]), scale)
    with torch.device("meta"):
        vae = AutoencoderKL(**{**config, "scaling_factor": scale})
    return vae, fill(vae, vae_names(vae.state_dict()), weights, torch.float32, device)


def load_autoencoder_folder(
    folder: Path, label: str, config: dict[str, Any], device: torch.device
) -> tuple[Any, Samples]:
    """The AutoencoderKL of a diffusers folder `vae`, whose config was read already."""
    from diffusers import AutoencoderKL

    weights = Weights.of(label, weight_files(folder, label, "diffusion_pytorch_model"))
    with torch.device("meta"):
        vae: Any = AutoencoderKL.from_config(config)
    # Older folders call the attention layer's projections `query`, `key`, `value` and `proj_attn`.
    return vae, fill(vae, matched(vae.state_dict(), weights.shapes, vae_names), weights, torch.float32, device)
