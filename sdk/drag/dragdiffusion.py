"""DragDiffusion (Shi et al., CVPR 2024, arXiv 2306.14435): the inverted latent is optimised (ALGORITHMS 2, 6.2)."""

from __future__ import annotations

from collections.abc import Generator

from ..result import Step
from .problem import DragProblem
from .supervised import pull


def steps(problem: DragProblem) -> Generator[Step, None, None]:
    """One `Step` per update of the latent (and the text embedding), and a last one that only looks."""
    return pull(problem, problem.latent, problem.evaluate, lambda latent: {"latent": latent})
