"""Numbers as they are shown: as many decimals as the spread of a column is worth, and a true minus sign."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

MINUS = "\N{MINUS SIGN}"
NOTHING = "\N{EN DASH}"
_MOST_DECIMALS = 5


def decimals(values: Iterable[float]) -> int:
    """Two more than the leading digit of the spread has: about two digits of a mean's standard error."""
    found = np.array(list(values), float)
    if not len(found):
        return 2
    spread = float(found.std()) or float(np.abs(found).max()) / 10
    if spread < 1e-12:
        return 0
    return int(np.clip(2 - math.floor(math.log10(spread)), 0, _MOST_DECIMALS))


def show(value: float | None, places: int, sign: bool = False) -> str:
    """A number with so many decimals; a dash for None. sign: also of what is above 0."""
    if value is None or not math.isfinite(value):
        return NOTHING
    text = f"{value:+.{places}f}" if sign else f"{value:.{places}f}"
    if not float(text):
        text = text.lstrip("+-")
    return text.replace("-", MINUS)


def show_interval(low: float | None, high: float | None, places: int, sign: bool = False) -> str:
    if low is None or high is None:
        return ""
    return f"[{show(low, places, sign)}, {show(high, places, sign)}]"


def show_p(p: float | None) -> str:
    """Of a test: three decimals, and never 0."""
    if p is None:
        return NOTHING
    return "<\N{NO-BREAK SPACE}0.001" if p < 0.001 else f"{p:.3f}"


def inline(title: str) -> str:
    """A title in the middle of a sentence: its first letter small, unless it begins an abbreviation."""
    return title[:1].lower() + title[1:] if title[1:2].islower() else title


def opening(title: str) -> str:
    """A title at the beginning of a sentence or a column."""
    return title[:1].upper() + title[1:] if title[1:2].islower() else title


def count(number: int, singular: str, plural: str | None = None) -> str:
    """`1 item`, `2 items`."""
    return f"{number} {singular if number == 1 else plural or singular + 's'}"
