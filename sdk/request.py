"""What can be asked of an edit: drags, prompt, mask, region and settings. JSON in and out."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

from .errors import InputError
from .settings import Settings, as_dict, given_settings, make_settings

Point = tuple[float, float]


@dataclass(frozen=True)
class Drag:
    """One handle point and where it should go, both (x, y) in pixels of the user's image.

    A target that is its handle pins the point: there nothing shall move.
    """

    source: Point
    target: Point

    @property
    def pins(self) -> bool:
        return self.source == self.target

    @property
    def length(self) -> float:
        """Pixels from handle to target."""
        return math.dist(self.source, self.target)


def make_drags(
    drags: Any = None,
    *,
    source_points: Sequence[Sequence[float]] | None = None,
    target_points: Sequence[Sequence[float]] | None = None,
) -> tuple[Drag, ...]:
    """Read drags in any of the accepted forms, all (x, y) pixels.

    drags: a list of `Drag`, of ((x0, y0), (x1, y1)) pairs, or the benchmarks' flat list [handle, target, handle,
        target, ...] of (x, y) points.
    source_points, target_points: two lists of equal length instead.
    """
    if drags is not None and (source_points is not None or target_points is not None):
        raise InputError("Give drags or source_points with target_points, not both.")
    if drags is None:
        if (source_points is None) != (target_points is None):
            raise InputError("source_points and target_points belong together; give both.")
        sources, targets = list(source_points or ()), list(target_points or ())
        if len(sources) != len(targets):
            raise InputError(
                f"There are {len(sources)} source_points but {len(targets)} target_points; "
                "they pair up, so give as many of each."
            )
        pairs = list(zip(sources, targets))
    else:
        pairs = _pairs(drags)
    result = tuple(Drag(_point(source), _point(target)) for source, target in pairs)
    if not result:
        raise InputError("There are no drags; give at least one handle point and its target.")
    if all(drag.pins for drag in result):
        raise InputError(f"Handle and target are both at {show(result[0].source)}; move the target.")
    given: dict[Point, Point] = {}
    for drag in result:
        target = given.setdefault(drag.source, drag.target)
        if target != drag.target:
            raise InputError(
                f"The handle {show(drag.source)} has two targets, {show(target)} and {show(drag.target)}; give each "
                "handle one."
            )
    return result


def read_drags(drags: Any) -> tuple[Drag, ...]:
    """Drags that need not make an edit yet, while somebody is still drawing: none, or only pins.

    Forms and errors as for `make_drags`.
    """
    return tuple(Drag(_point(source), _point(target)) for source, target in _pairs(drags))


def _pairs(drags: Any) -> list[tuple[Any, Any]]:
    try:
        items = list(drags)
    except TypeError:
        raise InputError(f"Drags must be a list of point pairs, not {drags!r}.") from None
    if any(isinstance(item, Drag) for item in items):
        if not all(isinstance(item, Drag) for item in items):
            raise InputError("Drags mix Drag objects with other forms; use one form.")
        return [(item.source, item.target) for item in items]
    if items and all(_is_point(item) for item in items):
        if len(items) % 2:
            raise InputError(
                f"A flat list alternates handle and target, so it needs an even number of points, not {len(items)}."
            )
        return list(zip(items[::2], items[1::2]))
    pairs = []
    for item in items:
        if isinstance(item, dict) and set(item) == {"source", "target"}:
            pairs.append((item["source"], item["target"]))
            continue
        try:
            source, target = item
        except (TypeError, ValueError):
            raise InputError(f"A drag is a pair of (x, y) points, not {item!r}.") from None
        pairs.append((source, target))
    return pairs


def _is_point(item: Any) -> bool:
    try:
        return len(item) == 2 and all(isinstance(v, Real) and not isinstance(v, bool) for v in item)
    except TypeError:
        return False


def _point(item: Any) -> Point:
    if not _is_point(item):
        raise InputError(f"A point is (x, y) in pixels, not {item!r}.")
    try:
        x, y = float(item[0]), float(item[1])
    except OverflowError:  # a whole number beyond what a float holds
        x = y = math.inf
    if not (math.isfinite(x) and math.isfinite(y)):
        raise InputError(f"The point ({x}, {y}) is not finite; give pixel coordinates.")
    return x, y


def show(point: Point) -> str:
    """A point in a sentence."""
    return f"({point[0]:g}, {point[1]:g})"


@dataclass(frozen=True)
class Request:
    """Everything that defines an edit besides the image and the model.

    mask: what may change: a path (relative to the request file), or a `data:image/png;base64,` URI as written into PNG
        metadata. region: what the drags carry, in the same forms; one for all of them, or one per drag.
    """

    drags: tuple[Drag, ...]
    prompt: str = ""
    mask: str | None = None
    settings: Settings = field(default_factory=lambda: Settings())
    region: str | tuple[str, ...] | None = None

    def to_json(self) -> str:
        return json.dumps(self.to_data())

    def to_data(self, *, chosen: bool = False) -> dict[str, Any]:
        """What `from_data` reads. chosen: only the settings that somebody chose, so that what a model recommends and
        what becomes another default still count; otherwise all, so that the edit can be repeated."""
        return {
            "prompt": self.prompt,
            "drags": [[list(d.source), list(d.target)] for d in self.drags],
            "mask": self.mask,
            **({} if self.region is None else {"region": self.region}),
            "settings": given_settings(self.settings) if chosen else as_dict(self.settings),
        }

    @classmethod
    def from_json(cls, text: str) -> Request:
        """Parse a request. Drags may have any form that `make_drags` takes; `points` is the flat list's old name."""
        try:
            data = json.loads(text)
        except ValueError as error:
            raise InputError(f"The request is not valid JSON ({error}).") from None
        return cls.from_data(data)

    @classmethod
    def from_data(cls, data: Any) -> Request:
        """The same from the dict that the JSON is."""
        if not isinstance(data, dict):
            raise InputError("The request must be a JSON object with prompt, drags, mask and settings.")
        known = {"prompt", "drags", "points", "source_points", "target_points", "mask", "region", "settings"}
        unknown = sorted(map(str, set(data) - known))
        if unknown:
            raise InputError(f"Unknown request field '{unknown[0]}'; the fields are: {', '.join(sorted(known))}.")
        prompt, mask, region = data.get("prompt") or "", data.get("mask"), data.get("region")
        settings = data.get("settings") or {}
        if not isinstance(prompt, str) or not (mask is None or isinstance(mask, str)):
            raise InputError("In the request, prompt and mask must be text.")
        if isinstance(region, list) and region and all(isinstance(part, str) for part in region):
            region = tuple(region)
        elif not (region is None or isinstance(region, str)):
            raise InputError("In the request, region must be text as the mask is, or a list with one per drag.")
        if any("\ud800" <= character <= "\udfff" for character in prompt):
            raise InputError("In the request, the prompt holds half a character (a lone surrogate); write it again.")
        if not isinstance(settings, dict):
            raise InputError("In the request, settings must be an object of name and value.")
        drags = data.get("drags", data.get("points"))
        two_lists = {k: data[k] for k in ("source_points", "target_points") if k in data}
        if drags is None and not two_lists:
            return cls((), prompt, mask, make_settings(settings), region)
        return cls(make_drags(drags, **two_lists), prompt, mask, make_settings(settings), region)
