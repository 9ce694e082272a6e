"""The U-Net's and its text encoder's training: v-prediction, prompt dropout, perturbed inputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from lessons import SHARES, VARIANTS, Lesson
from muon import make_optimisers
from networks import Painter, cumulative_alphas
from progress import Length, Run
from torch import Tensor, nn
from torch.nn import functional
from words import token_row

LEVELS = (100, 300, 500, 700, 900)  # timesteps at which the error on unseen scenes is told
_EMPTY = 0.1  # share of captions that are left out, so that guidance works


@dataclass(frozen=True)
class Recipe:
    """batch: whole scenes of a step, and twice as many close ones. close_until: share of the schedule in which close
    scenes come at all, then in `close_share` of the steps. extra: noise beyond what the timestep says, in deviations
    (Ning et al., 2023, arXiv 2301.11706): a drag leaves some, too. lr: of Muon; AdamW takes a third.
    """

    batch: int = 512
    close_until: float = 0.35
    close_share: float = 0.8
    extra: float = 0.2
    lr: float = 3e-3
    keep: float = 0.998


def draw_timesteps(count: int, device: torch.device) -> Tensor:
    """(count,) of 0 to 999: half of them even, half near the middle, where shapes are decided.

    Near the end most of the error can't be learnt away, near the start it is texture (as Esser et al., 2024, arXiv
    2403.03206, section 3.1).
    """
    even, middle = torch.rand(count, device=device), (0.3 + 0.9 * torch.randn(count, device=device)).sigmoid()
    return (torch.where(torch.rand(count, device=device) < 0.5, even, middle) * 1000).long().clamp(max=999)


def train_unet(
    painter: Painter,
    lessons: Mapping[str, Lesson],
    ids: Mapping[str, int],
    recipe: Recipe,
    length: Length,
    precision: torch.dtype,
    path: Path | None = None,
) -> tuple[Painter, list[tuple[int, float, float]], dict[str, int]]:
    """Train U-Net and text encoders together. Returns averaged weights, the curve of the loss, and the scenes seen by
    kind since this start."""
    device = next(painter.parameters()).device
    run = Run(path, "unet", painter, make_optimisers(painter, recipe.lr, recipe.lr / 3), length, recipe.keep)
    alphas = cumulative_alphas().to(device)
    coin = np.random.default_rng(1 + run.step)
    blank = torch.tensor(token_row("", ids), device=device).long()
    seen = {"close": 0, "whole": 0}
    with half_norms():
        while run.goes_on():
            close = run.share < recipe.close_until and coin.random() < recipe.close_share
            lesson = lessons["close" if close else "whole"]
            count = recipe.batch * (2 if close else 1)
            assert lesson.latents is not None  # encoded before
            index = torch.randint(0, len(lesson), (count,), device=device)
            which = torch.tensor(coin.choice(len(VARIANTS), count, p=SHARES), device=device)
            rows = lesson.rows[index, which].long()
            rows = torch.where((torch.rand(count, device=device) < _EMPTY)[:, None], blank, rows)
            clean = lesson.latents[index].float()
            timesteps = draw_timesteps(count, device)
            noise, level = torch.randn_like(clean), alphas[timesteps][:, None, None, None]
            more = recipe.extra * torch.randn(count, 1, 1, 1, device=device) * torch.randn_like(clean)
            noisy = level.sqrt() * clean + (1 - level).sqrt() * (noise + more)
            with torch.autocast(device.type, torch.bfloat16, enabled=precision == torch.bfloat16):
                predicted = painter(noisy, timesteps, rows)
            # Summed in this order, the losses are to the last bit those of the trial that this is a port of.
            loss = (predicted.float() - level.sqrt() * noise + (1 - level).sqrt() * clean).square().mean()
            run.learn(loss, loss)
            seen[lesson.kind] += count
    return run.average.eval(), run.curve, seen


@contextmanager
def half_norms() -> Iterator[None]:
    """Under autocast, group norms that leave a map in the convolutions' precision: statistics are float32 anyway."""
    original = nn.GroupNorm.forward

    def forward(self: nn.GroupNorm, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return functional.group_norm(x, self.num_groups, self.weight.to(x.dtype), self.bias.to(x.dtype), self.eps)

    nn.GroupNorm.forward = forward  # type: ignore[method-assign]
    try:
        yield
    finally:
        nn.GroupNorm.forward = original  # type: ignore[method-assign]


@torch.no_grad()
def errors(painter: Painter, clean: Tensor, rows: Tensor, seed: int = 0) -> dict[int, float]:
    """Timestep -> mean squared error of the prediction on (n, 4, h, w) latents with (n, 77) tokens, noise by seed."""
    alphas = cumulative_alphas().to(clean.device)
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(seed)).to(clean.device)
    found = {}
    for timestep in LEVELS:
        level = alphas[timestep]
        noisy, wanted = (
            level.sqrt() * clean + (1 - level).sqrt() * noise,
            level.sqrt() * noise - (1 - level).sqrt() * clean,
        )
        parts = zip(noisy.split(32), rows.split(32))
        predicted = torch.cat([painter(part, timestep, words) for part, words in parts])
        found[timestep] = round(float((predicted - wanted).square().mean()), 5)
    return found
