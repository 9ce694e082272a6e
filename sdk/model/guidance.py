"""Classifier-free guidance (Ho & Salimans 2022): predictions pushed away from what another prompt would draw.

Published drags use none. Only the prompt's own embedding is ever optimised; the other one stays as it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..settings import ResolvedSettings
from .base import Conditioning, DiffusionModel


@dataclass(frozen=True)
class Guidance:
    """against: the negative prompt, of one item. scale: of the predictions in inversion, drag and denoise, 1 is none.

    top: the timestep at which the scale is reached, rising linearly from 1 at timestep 0 (SDE-Drag, Nie et al., ICLR
    2024); None is the same scale everywhere. features: the scale of the features that are dragged, 1 is none.
    """

    against: Conditioning
    scale: float = 1.0
    top: int | None = None
    features: float = 1.0

    @classmethod
    def of(cls, settings: ResolvedSettings, start: int, against: Conditioning) -> Guidance:
        """start: the timestep at which the edit begins."""
        top = start if settings.guidance_schedule == "ramp" else None
        return cls(against, settings.guidance, top, settings.feature_guidance)

    def at(self, timestep: int) -> float:
        """The scale of the prediction there."""
        return self.scale if self.top is None else 1 + (self.scale - 1) * timestep / self.top

    def words(self, count: int) -> Conditioning:
        """The negative prompt for `count` items."""
        return self.against.with_tokens(self.against.tokens.expand(count, -1, -1))

    def away(self, prediction: Tensor, other: Tensor, timestep: int) -> Tensor:
        """The prediction, as much farther from the negative prompt's as the scale says."""
        return other + self.at(timestep) * (prediction - other)

    def both(self, features: Tensor, other: Tensor) -> Tensor:
        """DragDiffusion's guidance within the loop: feature maps (1, C, h, w) of prompt and negative prompt as one of
        2 C channels, weighted by s / (2 s - 1) and the rest (its code's, for generated pictures)."""
        share = self.features / (2 * self.features - 1)
        return torch.cat([(1 - share) * other, share * features], dim=1)


def predict(
    model: DiffusionModel, latent: Tensor, timestep: int, text: Conditioning, guidance: Guidance | None
) -> Tensor:
    """`DiffusionModel.predict`, guided. One pass after the other: where items attend to the first one, each pass has a
    first one of its own."""
    prediction = model.predict(latent, timestep, text)
    if guidance is None or guidance.at(timestep) == 1:
        return prediction
    return guidance.away(prediction, model.predict(latent, timestep, guidance.words(len(latent))), timestep)
