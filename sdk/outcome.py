"""What came of an edit's loop, in the terms of its result."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .drag.problem import DragProblem
from .request import Drag
from .result import DragReport, Step, Trace


def reports(drags: Sequence[Drag], trajectory: np.ndarray) -> tuple[DragReport, ...]:
    """Where each drag's point ended. trajectory: (k, n, 2), (x, y) in pixels, the last of them at the end."""
    found = []
    for drag, final in zip(drags, trajectory[-1]):
        end = (float(final[0]), float(final[1]))
        left = math.dist(drag.target, end)
        found.append(DragReport(drag.source, drag.target, end, drag.length, left))
    return tuple(found)


def ending(last: Step, interrupted: bool, moved: bool) -> Any:
    """`EditResult.stopped`. interrupted: by the user; moved: there was an update, or a start."""
    if last.diverged:
        return "diverged"
    if last.reached:
        # Where the first look already puts the points elsewhere, as on a picture of one colour, nothing was dragged.
        return "reached" if moved else "stuck"
    if interrupted:
        return "interrupted"
    return "stuck" if last.stuck else "steps"


def trace_of(problem: DragProblem, steps: Sequence[Step]) -> Trace:
    """What the updates did, for who asked to see it."""
    done = [step for step in steps if step.updated]
    bottlenecks = [step.bottleneck for step in done if step.bottleneck is not None]
    shape = (0, *problem.handles.shape)
    return Trace(
        handles=np.stack([s.handles for s in done]) if done else np.zeros(shape),
        loss=np.array([s.loss for s in done], dtype=np.float64),
        latent=_rows([problem.latent, *(s.latent for s in done)]),
        text=_rows([problem.text.tokens, *(s.text for s in done)]),
        bottleneck=_rows(bottlenecks) if bottlenecks else None,
    )


def _rows(values: Sequence[Tensor]) -> np.ndarray:
    return torch.cat(list(values)).cpu().numpy()
