"""The final denoise, reference and edited latent side by side (ALGORITHMS 1.7, 1.8)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import torch
from torch import Tensor

from ..model.base import DiffusionModel
from ..model.schedule import TimeGrid, ddim_step
from ..model.taps import share_attention
from ..request import Settings


@torch.no_grad()
def denoise(
    model: DiffusionModel,
    times: TimeGrid,
    latents: Tensor,
    text: Tensor,
    settings: Settings,
) -> Iterator[Tensor]:
    """Deterministic DDIM from `times.start` down to a clean latent, yielding after every step.

    latents: (2, 4, h, w) [reference, edited]; text: (2, 77, D) likewise. From step `shared_attention_start` on the
    edited item attends to the reference's keys and values. Yields (2, 4, h, w).
    """
    with ExitStack() as stack:
        for index, timestep in enumerate(times.timesteps):
            if settings.shared_attention and index == settings.shared_attention_start:
                stack.enter_context(share_attention(model, settings.shared_attention_stages))
            prediction = model.predict(latents, timestep, text)
            latents = ddim_step(model, times, prediction, latents, timestep)
            yield latents
