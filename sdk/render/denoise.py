"""The final denoise, reference and edited latents side by side (ALGORITHMS 1.7, 1.8)."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack

import torch
from torch import Tensor

from ..model.base import Conditioning, DiffusionModel
from ..model.guidance import Guidance, predict
from ..model.schedule import TimeGrid, ddim_step
from ..model.taps import replace_mid, share_attention
from ..settings import ResolvedSettings


@torch.no_grad()
def denoise(
    model: DiffusionModel,
    times: TimeGrid,
    latents: Tensor,
    text: Conditioning,
    settings: ResolvedSettings,
    *,
    level: int = 0,
    bottleneck: tuple[Tensor, Tensor] | None = None,
    guidance: Guidance | None = None,
) -> Generator[Tensor, None, None]:
    """Deterministic DDIM from `times.timesteps[level]` down to clean latents, yielding after every step.

    latents: (n, c, h, w); text: of n items. With `shared_attention` item 0 is the reference, to whose keys
    and values all others attend from the `shared_attention_start`-th of these steps on.
    bottleneck: what takes the mid block's place (1, C, h', w') and how far for each item (n, 1, 1, 1); DragNoise's
    propagation, see `replace_mid`. Yields (n, c, h, w); nothing where the latents are clean already.
    """
    with ExitStack() as stack:
        if bottleneck is not None:
            stack.enter_context(replace_mid(model, *bottleneck))
        for index, timestep in enumerate(times.timesteps[level:]):
            if settings.shared_attention and index == settings.shared_attention_start:
                stack.enter_context(share_attention(model, settings.shared_attention_stages))
            prediction = predict(model, latents, timestep, text, guidance)
            latents = ddim_step(model, times, prediction, latents, timestep)
            yield latents
