"""DragNoise (Liu et al., CVPR 2024, arXiv 2404.01050): the U-Net's mid-block output is optimised (ALGORITHMS 4, 6.3).

The latent stays as it is; the optimised bottleneck takes the mid block's place in every step of the denoise.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError
from ..model.base import DiffusionModel
from ..model.taps import features_only, mid_block, remember, replace_mid
from ..result import Step
from ..settings import ResolvedSettings
from .features import FeatureMap
from .problem import DragProblem
from .supervised import pull

DEFAULTS: dict[str, Any] = {
    "start": "none",
    "repaint": "mask",
    "steps": 80,
    "lr": 0.02,
    "mask_weight": 0.2,
    "strength": 0.7,
    "supervision_radius": 1,
    "tracking_radius": 3,
    "displacement": 1.0,
    "shared_attention": False,
    "lora_steps": 200,
    "lora_lr": 2e-4,
}


def check(model: DiffusionModel, settings: ResolvedSettings) -> None:
    """Raise ModelError for a model without a mid block, InputError for what only a latent has."""
    mid_block(model)
    if settings.hold_background:
        raise InputError("DragNoise never changes the latent, so there is nothing to hold; leave hold_background out.")


def steps(problem: DragProblem) -> Generator[Step, None, None]:
    """One `Step` per update of the bottleneck (and the text embedding), and a last one that only looks."""
    model = problem.model
    with torch.no_grad():
        start = features_only(model, problem.begin, problem.times.start, problem.text, block=0).float()

    # Without text nothing before the bottleneck ever changes: the encoder and the mid block are computed once.
    same = not problem.settings.text and problem.guidance is None
    constant = (*model.layout.encoder, mid_block(model)) if same else ()
    outputs: dict = {}

    def evaluate(bottleneck: Tensor, text: Tensor) -> tuple[FeatureMap, Tensor | None]:
        with remember(constant, outputs), replace_mid(model, bottleneck):
            return problem.evaluate(problem.begin, text)

    return pull(problem, start, evaluate, lambda b: {"latent": problem.begin, "bottleneck": b})
