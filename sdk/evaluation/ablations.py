"""The paper's experiments, each as a question, what was expected, and the arms that answer it.

All on scenes whose true answer is known. What is expected was written before anything was run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from .bench import Arm
from .readers import UNNAMED

PLACES = ("way", "distance-left", "overlap", "left-behind", "remains", "truth-psnr")
LOOPS = ("dragdiffusion", "gooddrag")


@dataclass(frozen=True)
class Experiment:
    """kinds: of scenes (`readers.scenes`); metrics: by name; the first arm is what others are compared with."""

    question: str
    expected: str
    arms: tuple[Arm, ...]
    kinds: tuple[str, ...] = ("move", "part")
    metrics: tuple[str, ...] = PLACES


def _arm(method: str, text: bool, at: float | None = None, **settings: Any) -> Arm:
    values = {"method": method, "text": text, **settings}
    rest = "".join(f",{name}={value}" for name, value in settings.items())
    rest += "" if at is None else f",at={at:g}"
    return Arm(method + rest + ("+text" if text else ""), values, suited=True, at=at)


def _both(methods: Sequence[str] = LOOPS) -> tuple[Arm, ...]:
    return tuple(_arm(method, text) for method in methods for text in (False, True))


def _varied(name: str, values: Sequence[float], methods: Sequence[str], text: bool = True) -> tuple[Arm, ...]:
    return tuple(_arm(method, text, **{name: value}) for method in methods for value in values)


ABLATIONS: Mapping[str, Experiment] = MappingProxyType(
    {
        "text": Experiment(
            "Does optimising the text help, where, and by how much?",
            "Little on plain moves and parts. It should help where identity is at risk: with DragDiffusion rather than "
            "GoodDrag, which holds features to the original's; on long drags; beside another figure of the same kind; "
            "and only where the prompt names what would be lost.",
            _both(),
            ("move", "part", "long", "twins", UNNAMED),
        ),
        "text-weight": Experiment(
            "How strongly must the text be held to its meaning?",
            "The paper's 0.1 is no optimum: anything from 0 to 1 gives the same to within the noise, 10 is as good as "
            "no text optimisation.",
            (_arm("dragdiffusion", False), *_varied("text_weight", (0, 0.01, 0.1, 1, 10), ("dragdiffusion",))),
        ),
        "text-rate": Experiment(
            "How fast may the text move?",
            "Ten times the published rate changes what is drawn and harms; a tenth of it is as good as none.",
            (_arm("dragdiffusion", False), *_varied("text_lr", (0.0004, 0.004, 0.04), ("dragdiffusion",))),
        ),
        "block": Experiment(
            "Which decoder stage's features should be dragged?",
            "Whole figures move best on the finest, parts on the one before it; the two coarse ones cannot tell a part "
            "from its body.",
            _varied("feature_block", (3, 1, 2, 4), LOOPS),
        ),
        "extrapolation": Experiment(
            "Does going further than the edit's end go further?",
            "Up to 1.5 the content moves on and stays whole; at 2 and beyond it comes apart. What the text adds "
            "cannot be seen.",
            tuple(_arm("dragdiffusion", text, at) for text in (False, True) for at in (1.0, 0.0, 0.5, 1.5, 2.0, 3.0)),
            ("move",),
        ),
    }
)
