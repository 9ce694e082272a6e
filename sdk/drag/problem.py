"""The inputs of a drag loop, all in the model's frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..model.base import DiffusionModel, TextEmbedding
from ..model.schedule import TimeGrid, ddim_step
from ..model.taps import features_and_prediction, features_only
from ..request import Settings
from .features import FeatureMap


@dataclass(frozen=True)
class DragProblem:
    """One drag to solve.

    times: the timesteps of the edit; the loop works at `times.start`.
    latent: (1, 4, h, w) float32, inverted to that timestep; text: the prompt's embedding.
    handles, targets: (n, 2) float64 whole (row, col) on the feature grid of size `grid`.
    mask: (1, 1, h, w) float32, 1 = may change; None where nothing is protected.
    settings: resolved, no None left.
    """

    model: DiffusionModel
    times: TimeGrid
    latent: Tensor
    text: TextEmbedding
    handles: np.ndarray
    targets: np.ndarray
    grid: tuple[int, int]
    mask: Tensor | None
    settings: Settings

    @property
    def protects_background(self) -> bool:
        return self.mask is not None and self.settings.mask_weight > 0

    def evaluate(self, latent: Tensor, text: Tensor) -> tuple[FeatureMap, Tensor | None]:
        """Feature map, and the denoised `x_prev` where the background term needs it.

        Without a mask the forward ends at the feature block: a quarter of it is never computed.
        """
        block, start = self.settings.feature_block, self.times.start
        if not self.protects_background:
            return FeatureMap(features_only(self.model, latent, start, text, block), self.grid), None
        native, prediction = features_and_prediction(self.model, latent, start, text, block)
        return FeatureMap(native, self.grid), ddim_step(self.model, self.times, prediction, latent, start)

    @torch.no_grad()
    def look(self, latent: Tensor, text: Tensor) -> FeatureMap:
        """The feature map alone, without gradient."""
        native = features_only(self.model, latent, self.times.start, text, self.settings.feature_block)
        return FeatureMap(native, self.grid)
