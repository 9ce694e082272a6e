"""The paper's experiments, each as a question, what was expected, and the arms that answer it.

All on scenes whose true answer is known. What is expected was written before anything was run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from ..errors import InputError
from .bench import WITHOUT_TEXT, Arm, make_arms
from .readers import UNNAMED

PLACES = ("way", "distance-left", "overlap", "left-behind", "remains", "truth-psnr")
_Arms = Callable[[Sequence[str]], tuple[Arm, ...]]


@dataclass(frozen=True)
class Experiment:
    """make: the arms, given the methods; the first one is what others are compared with. methods: those that it is
    crossed with where nobody names others. kinds: of scenes (`readers.scenes`); metrics: by name.
    """

    question: str
    expected: str
    make: _Arms
    methods: tuple[str, ...] = ("dragdiffusion",)
    kinds: tuple[str, ...] = ("move", "part")
    metrics: tuple[str, ...] = PLACES

    def arms(self, methods: Sequence[str] = ()) -> tuple[Arm, ...]:
        """Raises InputError for a method without a loop, which has nothing to vary."""
        for method in methods:
            if method in WITHOUT_TEXT:
                raise InputError(f"Experiments are about loops, and {method} has none.")
        return self.make(methods or self.methods)


def _ways(methods: Sequence[str], text: bool | None, *varied: Mapping[str, Any]) -> tuple[Arm, ...]:
    return make_arms(methods, text, {}, varied, suited=True)


def _text_varied(name: str, *values: float) -> _Arms:
    """Each method without the text, and with it at each of the values."""
    return lambda methods: (
        *_ways(methods, False),
        *_ways(methods, True, *({name: value} for value in values)),
    )


def _blocks(methods: Sequence[str]) -> tuple[Arm, ...]:
    return _ways(methods, True, *({"feature_block": block} for block in (3, 1, 2, 4)))


def _points_of_the_way(methods: Sequence[str]) -> tuple[Arm, ...]:
    return tuple(arm for whole in _ways(methods, None) for arm in _points(whole, (1.0, 0.0, 0.5, 1.5, 2.0, 3.0)))


def _points(arm: Arm, points: Sequence[float]) -> tuple[Arm, ...]:
    """The same edit, seen at several points of its way."""
    method, text, _ = arm.name.partition("+text")  # which stays the end: so the two ways with the text are a pair
    return tuple(replace(arm, name=f"{method},at={point:g}{text}", at=point) for point in points)


DOUBLED = "a red cat and a red cat on a white background"  # what drags leave behind makes two of one


_GUIDANCE: Mapping[str, Mapping[str, Any]] = {
    "": {},
    ",constant=2": {"guidance": 2.0},
    ",ramp=3": {"guidance": 3.0, "guidance_schedule": "ramp"},
    ",features=3": {"feature_guidance": 3.0},
    ",constant=2,negative": {"guidance": 2.0, "negative_prompt": DOUBLED},
}
# As published, where the whole picture goes through the model and nothing is pasted back.
_OPEN = {"composite": False}
_BACKGROUND: Mapping[str, Mapping[str, Any]] = {
    "": _OPEN,
    ",held": {"hold_background": True, **_OPEN},
    ",held-alone": {"hold_background": True, "mask_weight": 0.0, **_OPEN},
    ",free": {"mask_weight": 0.0, **_OPEN},
}
# Beside what suits the model, which is none.
_IDENTITY: Mapping[str, Mapping[str, Any]] = {
    "": {},
    ",quick": {"identity": "quick"},
    ",published": {"identity": "published"},
    ",shared": {"shared_attention": True},
    ",shared,warp": {"shared_attention": True, "start": "warp"},
    ",shared,warp,quick": {"identity": "quick", "shared_attention": True, "start": "warp"},
}
# As many updates in every arm, and no point arrives before them.
_TIMED = {"steps": 12, "reach_distance": 0.001, "tracks_per_level": 4}
_SIZES = {f",{side}px": {"resolution": side, **_TIMED} for side in (128, 192, 256)}


def _named(ways: Mapping[str, Mapping[str, Any]], text: bool | None = None) -> _Arms:
    """Each of the ways, called METHOD and the way's name. text: with it or without; None is both."""

    def make(methods: Sequence[str]) -> tuple[Arm, ...]:
        arms = []
        for method in methods:
            for number, (name, settings) in enumerate(ways.items()):
                # In turn, so that what comes first pays for what both need as often with the text as without.
                pair = _ways((method,), text, settings)[:: -1 if number % 2 else 1]
                arms += [replace(arm, name=f"{method}{name}{'+text' * arm.settings['text']}") for arm in pair]
        return tuple(arms)

    return make


def _held(methods: Sequence[str]) -> tuple[Arm, ...]:
    if "dragnoise" in methods:
        raise InputError("DragNoise never changes the latent, so there is no background to hold; name other loops.")
    return _named(_BACKGROUND)(methods)


ABLATIONS: Mapping[str, Experiment] = MappingProxyType(
    {
        "text": Experiment(
            "Does optimising the text help, where, and by how much?",
            "Little on plain moves and parts. It should help where identity is at risk: with DragDiffusion rather than "
            "GoodDrag, which holds features to the original's; on long drags; beside another figure of the same kind; "
            "and only where the prompt names what would be lost.",
            lambda methods: _ways(methods, None),
            ("dragdiffusion", "gooddrag"),
            ("move", "part", "long", "twins", UNNAMED),
        ),
        "text-weight": Experiment(
            "How strongly must the text be held to its meaning?",
            "The paper's 0.1 is no optimum: anything from 0 to 1 gives the same to within the noise, 10 is as good as "
            "no text optimisation.",
            _text_varied("text_weight", 0, 0.01, 0.1, 1, 10),
        ),
        "text-rate": Experiment(
            "How fast may the text move?",
            "Ten times the published rate changes what is drawn and harms; a tenth of it is as good as none.",
            _text_varied("text_lr", 0.0004, 0.004, 0.04),
        ),
        "block": Experiment(
            "Which decoder stage's features should be dragged?",
            "Whole figures move best on the finest, parts on the one before it; the two coarse ones cannot tell a part "
            "from its body.",
            _blocks,
            ("dragdiffusion", "gooddrag"),
        ),
        "extrapolation": Experiment(
            "Does going further than the edit's end go further?",
            "Up to 1.5 the content moves on and stays whole; at 2 and beyond it comes apart. What the text adds "
            "cannot be seen.",
            _points_of_the_way,
            kinds=("move",),
        ),
        "guidance": Experiment(
            "Does guidance help a drag, and does optimising the text matter more with it?",
            "Constant guidance does not invert, so what remains grows, with the text and without. SDE-Drag's ramp "
            "loses less of the picture and gains nothing over none. Guided features change little. A negative prompt "
            "that names a doubled figure takes nothing of what is left behind away. The text's optimisation counts "
            "for more with guidance than without, in either direction, since the prompt's share in every prediction "
            "is larger.",
            _named(_GUIDANCE),
        ),
        "background": Experiment(
            "Is the background kept better by holding it than by a term in the loss?",
            "Held hard, it changes less than half as much as with the published term, and the drag goes as far or "
            "farther, since nothing pulls against it; without any term an iteration also takes less time. The seam "
            "does not show in what remains.",
            _held,
            ("dragdiffusion", "gooddrag"),
            metrics=(*PLACES, "outside-l1", "outside-psnr"),
        ),
        "identity": Experiment(
            "How much must be learnt of a picture before it is dragged?",
            "Nothing where the model knows what it sees. In negatives, a look that it does not know, both fits leave "
            "less than none, and the quick one, at a sixteenth of the work, no more than the published one. Shared "
            "keys and values alone do half of what a fit does. Behind a warped start with shared keys and values no "
            "fit makes any difference.",
            _named(_IDENTITY, text=True),
            ("dragdiffusion", "gooddrag"),
            ("move", "negative"),
        ),
        "overhead": Experiment(
            "What does optimising the text cost, by resolution and number of points?",
            "Below 5 % of an update everywhere: the embedding's gradient comes with the latent's backward pass. It "
            "does not grow with the points; its share falls with the resolution. Memory does not change.",
            _named(_SIZES),
            kinds=("points-1", "points-4", "points-16"),
            metrics=("way",),
        ),
    }
)
