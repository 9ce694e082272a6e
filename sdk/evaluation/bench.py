"""A benchmark: items by arms by seeds, as the tasks of a run, and what measures them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..batch.tasks import Opened, Task
from ..editor import Editor
from ..errors import InputError
from ..model.base import DiffusionModel
from ..settings import given_settings, make_settings
from .metrics import METRICS, Case, Tools, available, measure_edit, metric_of, reversed_drags
from .readers import POINTS, UNNAMED, Item
from .suited import loop_settings
from .tasks import HARD

OWN = "own"  # features of the model that did the edit
RECOMMENDED = "recommended"  # an arm without a method: what the model itself recommends
WITHOUT_TEXT = ("warp", RECOMMENDED)


@dataclass(frozen=True)
class Arm:
    """One way to do every item.

    settings: those that are given; suited: on top of what suits the demonstration model; at: the point of the way that
    is measured, where it is not the end.
    """

    name: str
    settings: Mapping[str, Any]
    suited: bool = False
    at: float | None = None

    def for_item(self, item: Item) -> dict[str, Any]:
        method = self.settings.get("method")
        if self.suited and method is not None and method != "warp":
            more = {name: value for name, value in self.settings.items() if name != "method"}
            moves = item.category in (*HARD, UNNAMED) or item.category.startswith(POINTS)
            kind = "move" if moves else item.category
            return given_settings(loop_settings(method, kind, **more))
        return dict(self.settings)

    def told(self) -> dict[str, Any]:
        """For the manifest."""
        own = {"suited": self.suited or None, "at": self.at}
        return {**self.settings, **{name: value for name, value in own.items() if value is not None}}


def make_arms(
    methods: Sequence[str],
    text: bool | None,
    settings: Mapping[str, Any],
    varied: Sequence[Mapping[str, Any]],
    suited: bool,
) -> tuple[Arm, ...]:
    """One per method, way with the text and combination of what varies. text: None is both ways. Raises InputError."""
    arms = []
    for method in methods:
        chosen = {} if method == RECOMMENDED else {"method": method}
        ways = (None,) if method in WITHOUT_TEXT else (False, True) if text is None else (text,)
        for way in ways:
            for more in varied or ({},):
                values = {**settings, **chosen, **({} if way is None else {"text": way}), **more}
                values = given_settings(make_settings(values))  # what cannot be is said now
                # No blanks: the same arm with text and without is known by the name, as X and X+text.
                rest = "".join(f",{name}={value}" for name, value in more.items())
                arms.append(Arm(method + rest + ("+text" if way else ""), values, suited))
    names = [arm.name for arm in arms]
    if len(set(names)) < len(names):
        raise InputError("A method is named twice; give each once.")
    return tuple(arms)


def make_tasks(items: Iterable[Item], arms: Sequence[Arm], seeds: Sequence[int]) -> Iterator[Task]:
    for item in items:
        for arm in arms:
            for seed in seeds:
                yield Task(
                    item.name, item.group, arm.name, seed, item.source, arm.for_item(item), item.category, arm.at
                )


@dataclass
class Measures:
    """Measures results in the process that makes them. names: of METRICS; features: OWN, or a model's path or name;
    lpips, clip: where their weights are.
    """

    names: tuple[str, ...]
    features: str = OWN
    lpips: str | None = None
    clip: str | None = None
    _tools: Tools | None = field(default=None, init=False, repr=False)

    def __call__(
        self, model: DiffusionModel, task: Task, opened: Opened, edited: np.ndarray, original: np.ndarray
    ) -> dict[str, float]:
        if self._tools is None:
            features = model if self.features == OWN else self.features
            self._tools = Tools(features, self.lpips, self.clip, str(model.device))
        drags = tuple((drag.source, drag.target) for drag in opened.drags)
        back = None
        if any(name.startswith("drag-back") for name in self.names):
            again = Editor(model, edited, opened.prompt)
            result = again.drag(reversed_drags(drags), mask=opened.mask, settings=task.asked)
            back = np.asarray(result.image.convert("RGB"))
        case = Case(original, edited, drags, opened.mask, opened.prompt, opened.answer, back)
        return {name: float(value) for name, value in measure_edit(case, self.names, self._tools).items()}

    def told(self) -> dict[str, dict[str, Any]]:
        """For the manifest."""
        return {name: _told(name, self.features) for name in self.names}


def choose_measures(wanted: Sequence[str] | None, features: str, lpips: str | None, clip: str | None) -> Measures:
    """Those that are wanted, or without a wish all that can be computed here. Raises InputError."""
    tools = Tools("embedded" if features == OWN else features, lpips, clip)
    can = available(tools)
    if wanted is None:
        # Mean distances and dragging back take longer than an edit: whoever wants them names them.
        slow = {name for name in can if METRICS[name].needs == "features" or name.startswith("drag-back")}
        chosen = [name for name, reason in can.items() if reason is None and name not in slow]
    else:
        chosen = list(wanted)
        for name in chosen:
            if reason := can[metric_of(name).name]:
                raise InputError(f"{name} cannot be measured: {reason}")
    return Measures(tuple(chosen), features, lpips, clip)


def _told(name: str, features: str) -> dict[str, Any]:
    metric = METRICS[name]
    return {
        "title": metric.title,
        "unit": metric.unit,
        "direction": metric.direction,
        "definition": metric.definition,
        "source": metric.source,
        "features": ("the edit's own model" if features == OWN else features) if metric.needs == "features" else "",
        "pooled": metric.pooled,
    }
