"""As much of SVG as plots need: shapes whose look is left to the page's style sheet, and axes with round numbers."""

from __future__ import annotations

import math
from typing import Any

from markupsafe import Markup, escape

from .numbers import show


class Drawing:
    """A drawing of width x height. Attributes are keywords: `class_`, `x1`, `text_anchor`; texts are escaped."""

    def __init__(self, width: float, height: float, label: str, kind: str = "plot") -> None:
        self.width, self.height = width, height
        self._label, self._kind = label, kind
        self._shapes: list[Markup] = []

    def add(self, tag: str, /, text: str = "", title: str = "", **attributes: Any) -> None:
        """A shape. text: what stands in it; title: what a pointer over it shows."""
        inside = Markup("<title>{}</title>").format(title) if title else Markup("")
        self._shapes.append(
            Markup("<{}{}>{}{}</{}>").format(Markup(tag), _attributes(attributes), inside, text, Markup(tag))
        )

    def markup(self) -> Markup:
        opening = _attributes(
            {
                "class_": self._kind,
                "viewBox": f"0 0 {self.width:g} {self.height:g}",
                "width": self.width,
                "height": self.height,
                "role": "img",
                "aria-label": self._label,
            }
        )
        return Markup("<svg{}>{}</svg>").format(opening, Markup("").join(self._shapes))


class Axis:
    """Values from `low` to `high` on pixels from `start` to `end`, with round numbers a little way around them."""

    def __init__(self, low: float, high: float, start: float, end: float, wanted: int = 6) -> None:
        if high - low < 1e-9 * max(1.0, abs(low), abs(high)):
            room = abs(low) / 10 or 1.0
            low, high = low - room, high + room
        room = (high - low) * 0.03
        self.low, self.high, self.start, self.end = low - room, high + room, start, end
        step = round_step((high - low) / wanted)
        self.places = max(0, -math.floor(math.log10(step) + 1e-9))
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        self.ticks = [number * step for number in range(first, last + 1)]

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def label(self, value: float) -> str:
        return show(value, self.places)


def round_step(least: float) -> float:
    """The next of 1, 2 and 5 with zeros around them."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(power * leading for leading in (1, 2, 5, 10) if power * leading >= least * (1 - 1e-9))


def _attributes(given: dict[str, Any]) -> Markup:
    shown = ((name.rstrip("_").replace("_", "-"), value) for name, value in given.items() if value is not None)
    return Markup("").join(
        Markup(' {}="{}"').format(Markup(name), f"{value:.2f}" if isinstance(value, float) else escape(value))
        for name, value in shown
    )
