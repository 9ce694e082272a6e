"""DDIM: the time grid, a step in either direction, and inversion (ALGORITHMS 1.3 to 1.5)."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import torch
from torch import Tensor

from .base import Conditioning, DiffusionModel, PredictionType
from .guidance import Guidance, predict

TRAIN_STEPS = 1000


@dataclass(frozen=True)
class TimeGrid:
    """The timesteps that an edit visits, from its start level down to 1.

    timesteps: descending, for example (681, 661, ..., 21, 1) for strength 0.7 of 50 steps.
    spacing: distance between neighbours, 20 for 50 inference steps.
    """

    timesteps: tuple[int, ...]
    spacing: int

    @classmethod
    def of(cls, strength: float, inference_steps: int) -> TimeGrid:
        """`round(strength * inference_steps)` active steps (half to even), "leading" spacing with offset 1."""
        active = min(max(round(strength * inference_steps), 1), inference_steps)
        spacing = TRAIN_STEPS // inference_steps
        return cls(tuple(1 + spacing * k for k in reversed(range(active))), spacing)

    @property
    def start(self) -> int:
        return self.timesteps[0]

    def previous(self, timestep: int) -> int:
        """The next lower level; negative below the last timestep, where the final alpha applies."""
        return timestep - self.spacing


def alpha_bar(model: DiffusionModel, timestep: int) -> float:
    """Cumulative alpha at `timestep`; `abar[0]` below zero (set_alpha_to_one is false in Stable Diffusion)."""
    return float(model.alphas_cumprod[max(timestep, 0)])


def zero_terminal(alphas: Tensor) -> Tensor:
    """A schedule's cumulative alphas, shifted and scaled so that its last level is pure noise (Lin et al. 2023, 1)."""
    root = alphas.sqrt()
    return ((root - root[-1]) * root[0] / (root[0] - root[-1])) ** 2


def to_epsilon_x0(
    prediction: Tensor, latent: Tensor, abar: float, prediction_type: PredictionType
) -> tuple[Tensor, Tensor]:
    """Noise and clean latent from the U-Net's output (DDIM eq. 9; v as in Salimans & Ho 2022, appendix D)."""
    signal, noise = abar**0.5, (1 - abar) ** 0.5
    if prediction_type == "v_prediction":
        return signal * prediction + noise * latent, signal * latent - noise * prediction
    return prediction, (latent - noise * prediction) / signal


def ddim_move(
    prediction: Tensor, latent: Tensor, source: float, target: float, prediction_type: PredictionType
) -> Tensor:
    """Move a latent between two noise levels, given by their cumulative alphas, without adding noise (DDIM eq. 12)."""
    epsilon, x0 = to_epsilon_x0(prediction, latent, source, prediction_type)
    return target**0.5 * x0 + (1 - target) ** 0.5 * epsilon


def ddim_step(model: DiffusionModel, grid: TimeGrid, prediction: Tensor, latent: Tensor, timestep: int) -> Tensor:
    """One deterministic denoising step from `timestep` to the level below; `x_prev` of the background term."""
    return ddim_move(
        prediction,
        latent,
        alpha_bar(model, timestep),
        alpha_bar(model, grid.previous(timestep)),
        model.prediction_type,
    )


@torch.no_grad()
def invert(
    model: DiffusionModel, grid: TimeGrid, latent: Tensor, text: Conditioning, guidance: Guidance | None = None
) -> Generator[Tensor, None, None]:
    """DDIM inversion of a clean latent (1, c, h, w), yielding the latent at each ascending level.

    The noise is evaluated at the *destination* timestep while the latent is still at the source level, as the
    published code does (ALGORITHMS 1.4).
    """
    for destination in reversed(grid.timesteps):
        source, target = alpha_bar(model, grid.previous(destination)), alpha_bar(model, destination)
        prediction = predict(model, latent, destination, text, guidance)
        # The network believes the latent to be at the destination, so that level turns v into eps.
        epsilon, _ = to_epsilon_x0(prediction, latent, target, model.prediction_type)
        latent = ddim_move(epsilon, latent, source, target, "epsilon")
        yield latent
