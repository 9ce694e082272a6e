"""How sure a mean is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_DRAWN = 2000


def interval(values: Sequence[float] | np.ndarray, form: str = ".3f") -> str:
    """Mean and a bootstrap's 95 % interval of it. form: of the numbers, as for `format`."""
    drawn = np.random.default_rng(0).choice(values, (_DRAWN, len(values))).mean(1)
    low, high = np.percentile(drawn, (2.5, 97.5))
    return f"{np.mean(values):{form}} [{low:{form}}, {high:{form}}]"
