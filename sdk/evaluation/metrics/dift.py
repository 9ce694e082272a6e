"""DIFT: features of a diffusion model at one noise level (Tang et al., NeurIPS 2023, arXiv 2306.03881).

A picture is encoded, noise of one timestep is added several times over, and what a block of the U-Net's decoder makes
of it is averaged. Published mean distances take Stable Diffusion 2.1; here it is any model that the project can load.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ...model.base import DiffusionModel
from ...model.exclusive import exclusive, plain_torch
from ...model.schedule import alpha_bar
from ...model.taps import features_only
from ...picture.frame import Frame
from .matching import FeatureField

TIMESTEP = 261
STAGE = 2  # of `UNetLayout.stage`: up block 1 of four, whose cells are 16 pixels wide in every family
SEED = 42
_AT_ONCE = 4  # noisy copies that go through the U-Net together


@dataclass(frozen=True)
class Recipe:
    """How features are taken.

    ensemble: noisy copies that are averaged. sampled: each copy begins from a sample of the autoencoder's posterior,
    else all from its mean. side: the picture is brought to a square of so many pixels first, and the map back, by the
    nearest pixel both times; None leaves its size, and reads the map bilinearly. prompted: with the picture's prompt,
    else with an empty one.
    """

    ensemble: int
    sampled: bool
    side: int | None
    prompted: bool


def features(model: DiffusionModel, picture: np.ndarray, prompt: str, recipe: Recipe, seed: int) -> FeatureField:
    """Features of an (H, W, 3) uint8 picture.

    Without `side`, pictures whose sides do not suit the model are padded by repeating their border, and the padding is
    no part of the picture afterwards; the published code lets the autoencoder drop up to 7 pixels and stretches what it
    makes of the rest.
    """
    height, width = picture.shape[:2]
    if recipe.side is not None:
        picture = _nearest(picture, recipe.side)
    frame = Frame.of(*picture.shape[:2], multiple=model.size_multiple)
    generator = torch.Generator("cpu").manual_seed(seed)
    with plain_torch(model.device), exclusive(model), torch.no_grad():
        latent = model.encode_image(frame.image_to_model(picture).to(model.device))
        clean = latent.sample(recipe.ensemble, generator) if recipe.sampled else latent.mean
        clean = clean.expand(recipe.ensemble, -1, -1, -1)
        noise = torch.randn(clean.shape, generator=generator).to(clean)
        level = alpha_bar(model, TIMESTEP)
        text = model.encode_text(prompt if recipe.prompted else "", frame.padded)
        parts = []
        for part in (level**0.5 * clean + (1 - level) ** 0.5 * noise).split(_AT_ONCE):
            several = text.with_tokens(text.tokens.expand(len(part), -1, -1))
            parts.append(features_only(model, part, TIMESTEP, several, STAGE).float().sum(0))
        values = (torch.stack(parts).sum(0) / recipe.ensemble).cpu().numpy()
    if recipe.side is None:
        return FeatureField(values, frame.padded)
    return FeatureField(values, (height, width), smooth=False)


def _nearest(picture: np.ndarray, side: int) -> np.ndarray:
    """(side, side, 3) of an (H, W, 3) picture, each pixel that of torch's `nearest`: the one at floor(i * H / side)."""
    rows, cols = (np.arange(side) * length // side for length in picture.shape[:2])
    return np.ascontiguousarray(picture[rows[:, None], cols[None, :]])
