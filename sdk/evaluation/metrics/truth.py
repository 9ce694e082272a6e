"""Scenes whose answer is known: how far the content went, and how much of the difference to the truth is left.

The measurements themselves are in `movement.py`; here each is a number, or None where it does not apply. Source of all:
this project's own scenes (`tasks.py`), whose masks and true pictures are exact.
"""

from __future__ import annotations

from collections.abc import Callable

from .case import Case
from .change import psnr


def way(case: Case) -> float | None:
    """Fraction of the way: of a whole figure, its centroid's displacement along the drag over the drag's length; of a
    part, where on its way its own pixels fit best. 1 is all of it, and best. None for rotations and stretches."""
    moved = case.movement
    if moved is None:
        return None
    return moved.fraction if moved.part_fraction is None else moved.part_fraction


def truth_psnr(case: Case) -> float | None:
    """PSNR to the true picture, over the whole picture, in dB; higher is better, at most 100."""
    return None if case.task is None else psnr(case.edited, case.task.truth)


def fact(name: str) -> Callable[[Case], float | None]:
    """The field of `movement.Movement` of that name as a number."""

    def read(case: Case) -> float | None:
        value = None if case.movement is None else getattr(case.movement, name)
        return None if value is None else float(value)

    return read
