"""The inputs of a drag loop, all in the model's frame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..model.base import Conditioning, DiffusionModel
from ..model.capture import Captures
from ..model.guidance import Guidance, predict
from ..model.schedule import TimeGrid, alpha_bar, ddim_move
from ..model.taps import features_and_prediction, features_only
from ..settings import ResolvedSettings
from .features import FeatureMap, to_places
from .motion import background_loss
from .variable import Variable


@dataclass(frozen=True)
class DragProblem:
    """One drag to solve.

    times: the timesteps of the edit; a loop starts at the first of them.
    latent: (1, c, h, w) float32, inverted to that timestep; text: the prompt.
    handles, targets: (n, 2) float64 whole (row, col) on the feature grid of size `grid`.
    mask: (1, 1, h, w) float32, 1 = may change; None where nothing is protected.
    start, start_handles: where the content begins instead (DESIGN: a start is not a method): another latent like
        `latent`, and (n, 2) where the handles are on it. Features and background are still those of `latent`.
    guidance: away from a negative prompt, or None. captures: for iterations that are replayed, or None.
    recall: (what it depends on beside picture and settings, what computes it) -> a value that is kept with the picture.
    """

    model: DiffusionModel
    times: TimeGrid
    latent: Tensor
    text: Conditioning
    handles: np.ndarray
    targets: np.ndarray
    grid: tuple[int, int]
    mask: Tensor | None
    settings: ResolvedSettings
    start: Tensor | None = None
    start_handles: np.ndarray | None = None
    guidance: Guidance | None = None
    captures: Captures | None = None
    recall: Callable[[tuple, Callable[[], Any]], Any] = lambda _facts, make: make()

    @property
    def begin(self) -> Tensor:
        """(1, c, h, w), the latent that is optimised, as it begins."""
        return self.latent if self.start is None else self.start

    @property
    def begun(self) -> np.ndarray:
        """(n, 2), where the handles are as it begins."""
        return self.handles if self.start_handles is None else self.start_handles

    @property
    def protects_background(self) -> bool:
        return self.mask is not None and self.settings.mask_weight > 0

    def evaluate(
        self, latent: Tensor, text: Tensor, *, level: int = 0, full: bool | None = None
    ) -> tuple[FeatureMap, Tensor | None]:
        """Feature map, and the denoised `x_prev` where it is needed.

        text: (1, L, D), the tokens. level: index into `times.timesteps`. full: whether to go on to `x_prev`; by default
        only for the background term, since without it the forward ends at the feature block and a quarter of it is
        never computed.
        """
        full = self.protects_background if full is None else full
        native, prediction = self._look(latent, self.text.with_tokens(text), level, full)
        if self.guidance is not None:
            native, prediction = self._guided(self.guidance, latent, level, native, prediction)
        return FeatureMap(native, self.grid), None if prediction is None else self.denoised(prediction, latent, level)

    def _look(self, latent: Tensor, words: Conditioning, level: int, full: bool) -> tuple[Tensor, Tensor | None]:
        """The decoder's features, and where `full` the U-Net's output."""
        block, timestep = self.settings.feature_block, self.times.timesteps[level]
        if self._replays(latent):
            return self._replayed(latent, words, level, full)
        if full:
            return features_and_prediction(self.model, latent, timestep, words, block)
        return features_only(self.model, latent, timestep, words, block), None

    def _replays(self, latent: Tensor) -> bool:
        """Whether this evaluation is captured: the latent's own, with the prompt alone and one backward pass."""
        alone = self.guidance is None and self.settings.gradients == "joint"
        return self.captures is not None and alone and latent.requires_grad and torch.is_grad_enabled()

    def _replayed(self, latent: Tensor, words: Conditioning, level: int, full: bool) -> tuple[Tensor, Tensor | None]:
        assert self.captures is not None  # `_replays`
        model, block = self.model, self.settings.feature_block

        def work(latent: Tensor, tokens: Tensor, timestep: Tensor) -> tuple[Tensor, ...]:
            own = words.with_tokens(tokens)
            if full:
                return features_and_prediction(model, latent, timestep, own, block)
            return (features_only(model, latent, timestep, own, block),)

        timestep = torch.full((1,), self.times.timesteps[level], dtype=torch.int64, device=latent.device)
        inputs = latent, words.tokens, timestep
        native, *prediction = self.captures.of(full, work, inputs)(*inputs)
        return native, prediction[0] if prediction else None

    def _guided(
        self, guidance: Guidance, latent: Tensor, level: int, native: Tensor, prediction: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Both as the negative prompt changes them; it is looked at where something of it is needed."""
        timestep = self.times.timesteps[level]
        full = prediction is not None and guidance.at(timestep) != 1
        if not full and guidance.features == 1:
            return native, prediction
        features, other = self._look(latent, guidance.against, level, full)
        if guidance.features != 1:
            native = guidance.both(native, features)
        if prediction is not None and other is not None:
            prediction = guidance.away(prediction, other, timestep)
        return native, prediction

    def predict(self, latent: Tensor, text: Tensor, level: int) -> Tensor:
        """The U-Net's output at `level`, guided. text: (1, L, D), the tokens."""
        return predict(self.model, latent, self.times.timesteps[level], self.text.with_tokens(text), self.guidance)

    def denoised(self, prediction: Tensor, latent: Tensor, level: int) -> Tensor:
        """The latent one level further, from the U-Net's output at `level`."""
        return ddim_move(prediction, latent, *self._alphas[level], self.model.prediction_type)

    @cached_property
    def _alphas(self) -> tuple[tuple[float, float], ...]:
        """Cumulative alphas at each level and one further, as numbers: read once, not in every iteration."""
        levels = self.times.timesteps
        return tuple((alpha_bar(self.model, t), alpha_bar(self.model, self.times.previous(t))) for t in levels)

    @cached_property
    def aims(self) -> Tensor:
        """(n, 2), the targets on the latent's device."""
        return self.places(self.targets)

    def places(self, positions: np.ndarray) -> Tensor:
        """(n, 2) grid positions on the latent's device."""
        return to_places(positions, self.latent.device)

    def hold(self, x: Variable, original: Tensor) -> None:
        """Give the optimised latent what `original` (1, c, h, w) has outside the mask, where the settings say so."""
        if self.settings.hold_background and self.mask is not None:
            x.give(torch.where(self.mask > 0, x.leaf, original))

    def weighted_background(self, previous: Tensor | None, start: Tensor | None) -> Tensor | None:
        """`mask_weight` times the sum of changes outside the mask; None where nothing is protected."""
        if previous is None or start is None or self.mask is None:
            return None
        return self.settings.mask_weight * background_loss(previous, start, self.mask)

    def active(self, left: Tensor) -> Tensor:
        """(n,) bool: the pairs that have not arrived. left: (n,) distances in grid pixels."""
        return left >= self.settings.reach_distance
