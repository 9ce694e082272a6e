"""Drags as text, a line each, as the infotext shows them."""

from __future__ import annotations

import re

from ..sdk.errors import InputError
from ..sdk.request import Drag, make_drags
from .limits import check_count


def parse_points(lines: str) -> tuple[Drag, ...]:
    """A drag a line: four numbers, x and y of the handle and of the target, with anything between them.

    Raises InputError for a line without four.
    """
    written = [line.strip() for line in (lines or "").splitlines() if line.strip()]
    check_count(len(written))
    pairs = []
    for line in written:
        # The arrow's dash is not a minus sign.
        numbers = [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?(?:e[-+]\d+)?", line.replace("->", " "))]
        if len(numbers) == 2:
            raise InputError(f"The handle at {line[:80]} has no target.")
        if len(numbers) != 4:
            raise InputError(f"'{line[:80]}' is not of the form 120,80 -> 180,80.")
        pairs.append((numbers[:2], numbers[2:]))
    return make_drags(pairs)


def line_of(drag: Drag) -> str:
    """A drag as a line of text."""
    (x0, y0), (x1, y1) = drag.source, drag.target
    return f"{x0:.10g},{y0:.10g} -> {x1:.10g},{y1:.10g}"
