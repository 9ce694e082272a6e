"""The paper's experiments, each as a question, what was expected, and the arms that answer it.

All on scenes whose true answer is known. What is expected was written before anything was run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from .bench import Arm, make_arms
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


def _varied(name: str, values: Sequence[float], methods: Sequence[str], text: bool = True) -> tuple[Arm, ...]:
    return make_arms(methods, text, {}, [{name: value} for value in values], suited=True)


def _points(arm: Arm, points: Sequence[float]) -> tuple[Arm, ...]:
    """The same edit, seen at several points of its way."""
    method, text, _ = arm.name.partition("+text")  # which stays the end: so the two ways with the text are a pair
    return tuple(replace(arm, name=f"{method},at={point:g}{text}", at=point) for point in points)


_WITHOUT, _WITH = make_arms(("dragdiffusion",), None, {}, (), suited=True)

ABLATIONS: Mapping[str, Experiment] = MappingProxyType(
    {
        "text": Experiment(
            "Does optimising the text help, where, and by how much?",
            "Little on plain moves and parts. It should help where identity is at risk: with DragDiffusion rather than "
            "GoodDrag, which holds features to the original's; on long drags; beside another figure of the same kind; "
            "and only where the prompt names what would be lost.",
            make_arms(LOOPS, None, {}, (), suited=True),
            ("move", "part", "long", "twins", UNNAMED),
        ),
        "text-weight": Experiment(
            "How strongly must the text be held to its meaning?",
            "The paper's 0.1 is no optimum: anything from 0 to 1 gives the same to within the noise, 10 is as good as "
            "no text optimisation.",
            (
                _WITHOUT,
                *_varied("text_weight", (0, 0.01, 0.1, 1, 10), ("dragdiffusion",)),
                *make_arms(("gooddrag",), False, {}, (), suited=True),
                *_varied("text_weight", (0, 0.1, 10), ("gooddrag",)),
            ),
        ),
        "text-rate": Experiment(
            "How fast may the text move?",
            "Ten times the published rate changes what is drawn and harms; a tenth of it is as good as none.",
            (_WITHOUT, *_varied("text_lr", (0.0004, 0.004, 0.04), ("dragdiffusion",))),
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
            tuple(arm for whole in (_WITHOUT, _WITH) for arm in _points(whole, (1.0, 0.0, 0.5, 1.5, 2.0, 3.0))),
            ("move",),
        ),
    }
)
