"""No loop at all: what a warped start makes is the edit (start.py; ALGORITHMS 12b)."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np

from ..result import Step
from .problem import DragProblem

DEFAULTS: dict[str, Any] = {
    "start": "warp",
    "repaint": "revealed",
    "steps": 1,  # not used, like the next two and all that belongs to features: nothing is optimised
    "lr": 0.01,
    "mask_weight": 0.1,
    "strength": 0.7,
    "supervision_radius": 1,
    "tracking_radius": 3,
    "displacement": 1.0,
    "shared_attention": True,
    "lora_steps": 0,
    "lora_lr": 5e-4,
}


def steps(problem: DragProblem) -> Generator[Step, None, None]:
    """The one `Step` that says where the content begins, and so ends."""
    handles = problem.begun
    yield Step(
        0,
        handles,
        tuple(np.linalg.norm(problem.targets - handles, axis=1).tolist()),
        latent=problem.begin,
        text=problem.text.tokens,
        reached=True,
    )
