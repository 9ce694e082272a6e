"""DragDiffusion (Shi et al., CVPR 2024, arXiv 2306.14435): the inverted latent is optimised (ALGORITHMS 2, 6.2)."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from ..result import Step
from .problem import DragProblem
from .supervised import pull

DEFAULTS: dict[str, Any] = {
    "start": "none",
    "repaint": "mask",
    "steps": 80,
    "lr": 0.01,
    "mask_weight": 0.1,
    "strength": 0.7,
    "supervision_radius": 1,
    "tracking_radius": 3,
    "displacement": 1.0,
    "shared_attention": True,
    "lora_steps": 80,
    "lora_lr": 5e-4,
}


def steps(problem: DragProblem) -> Generator[Step, None, None]:
    """One `Step` per update of the latent (and the text embedding), and a last one that only looks."""
    return pull(problem, problem.begin, problem.evaluate, lambda latent: {"latent": latent}, problem.latent)
