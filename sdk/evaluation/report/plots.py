"""The report's plots. Colours are classes (`tint3`) that the style sheet fills, in light, in dark and on paper."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from ..statistics import Interval
from .svg import Axis, Drawing

TINTS = 8  # how many colours there are; arms beyond them have them again with another shape
_WIDTH, _ROW = 820, 46
_LETTER, _MOST_LETTERS = 6.9, 38  # of a name beside a plot: pixels each, and how many fit
_DOT = 3.4  # radius, pixels


@dataclass(frozen=True)
class Series:
    """An arm in a plot. points: what is said of each, and its value; colour and filled as of an `Arm`."""

    label: str
    colour: int
    filled: bool
    points: Sequence[tuple[str, float]]
    mean: Interval | None


@dataclass(frozen=True)
class Cloud:
    """An arm in a scatter plot. points: what is said of each, and where it is."""

    label: str
    colour: int
    filled: bool
    points: Sequence[tuple[str, float, float]]
    means: tuple[Interval, Interval] | None


def strips(series: Sequence[Series], title: str, show: Callable[[float], str]) -> Markup:
    """Every value as a dot, the box of the quartiles with the median, and the mean with its interval, a row per arm."""
    height = len(series) * _ROW + 44
    drawing = Drawing(_WIDTH, height, f"Distribution of {title} by method")
    values = [value for one in series for _, value in one.points]
    ends = [end for one in series if one.mean for end in (one.mean.low, one.mean.high)]
    left = _left([one.label for one in series])
    axis = Axis(min(values + ends), max(values + ends), left, _WIDTH - 16)
    bottom = len(series) * _ROW + 6
    _scale(drawing, axis, bottom, title)
    for number, one in enumerate(series):
        middle = number * _ROW + _ROW / 2
        _name(drawing, one.label, left, middle)
        found = sorted(one.points, key=lambda point: point[1])
        if len(found) > 3:
            low, median, high = np.percentile([value for _, value in found], (25, 50, 75))
            box = {"x": axis(low), "width": max(1.0, axis(high) - axis(low)), "y": middle - 16, "height": 24}
            drawing.add("rect", class_="box", **box)
            drawing.add("line", class_="median", x1=axis(median), x2=axis(median), y1=middle - 16, y2=middle + 8)
        for (what, value), off in zip(found, _swarm([axis(value) for _, value in found])):
            said = f"{what}: {show(value)}"
            _mark(drawing, one.colour, one.filled, axis(value), middle - 4 + off, said)
        if one.mean:
            below = middle + 15
            drawing.add("line", class_="interval", x1=axis(one.mean.low), x2=axis(one.mean.high), y1=below, y2=below)
            at = axis(one.mean.mean)
            drawing.add("path", class_="mean", d=f"M{at:.1f} {below - 5:.1f}l5 5l-5 5l-5 -5z")
    return drawing.markup()


def scatter(clouds: Sequence[Cloud], titles: tuple[str, str], show: Callable[[int, float], str]) -> Markup:
    """Every drag as a dot, the means with their intervals as crosses. show: a number of the first or second axis."""
    columns = 3
    legend = math.ceil(len(clouds) / columns) * 22
    drawing = Drawing(_WIDTH, 460 + legend, f"{titles[1]} against {titles[0]}")
    left, top, bottom = 74, legend + 10, legend + 410
    points = [(x, y) for cloud in clouds for _, x, y in cloud.points]
    across = Axis(min(x for x, _ in points), max(x for x, _ in points), left, _WIDTH - 16)
    up = Axis(min(y for _, y in points), max(y for _, y in points), bottom, top)
    _scale(drawing, across, bottom, titles[0], top)
    for tick in up.ticks:
        drawing.add("line", class_="grid", x1=left, x2=_WIDTH - 16, y1=up(tick), y2=up(tick))
        drawing.add("text", class_="tick", x=left - 8, y=up(tick) + 4, text=up.label(tick), text_anchor="end")
    turned = f"rotate(-90 16 {(top + bottom) / 2:.0f})"
    drawing.add("text", titles[1], class_="axis", x=16, y=(top + bottom) / 2, text_anchor="middle", transform=turned)
    for number, cloud in enumerate(clouds):
        x, y = left + 4 + (number % columns) * ((_WIDTH - left) // columns), 10 + number // columns * 22
        _mark(drawing, cloud.colour, cloud.filled, x, y, "", 1.35)
        drawing.add("text", cloud.label, class_="name", x=x + 12, y=y + 4)
        for what, value, other in cloud.points:
            said = f"{what}, {cloud.label}: {show(0, value)}, {show(1, other)}"
            _mark(drawing, cloud.colour, cloud.filled, across(value), up(other), said)
    for cloud in clouds:
        if cloud.means:
            x, y = cloud.means
            for kind in ("halo", f"cross tint{cloud.colour % TINTS}"):
                drawing.add("line", class_=kind, x1=across(x.low), x2=across(x.high), y1=up(y.mean), y2=up(y.mean))
                drawing.add("line", class_=kind, x1=across(x.mean), x2=across(x.mean), y1=up(y.low), y2=up(y.high))
            _mark(drawing, cloud.colour, cloud.filled, across(x.mean), up(y.mean), f"{cloud.label}: mean", 1.8)
    return drawing.markup()


def difference(values: Sequence[float], interval: Interval | None, verdict: str, scale: Sequence[float]) -> Markup:
    """Paired differences as ticks around 0 and their mean with its interval, small enough for a table.

    verdict: "better", "worse" or "". scale: the differences by which it is scaled, so that rows can be compared.
    """
    width, height = 190, 24
    drawing = Drawing(width, height, "paired differences", "sparkline")
    sizes = np.abs(np.array(scale, float))
    # A few that are far away shall not press the rest together: they are drawn at the end.
    wanted = [3 * float(np.percentile(sizes, 75))]
    if interval:
        wanted += [1.2 * abs(interval.low), 1.2 * abs(interval.high)]
    reach = min(float(sizes.max()), max(wanted)) or float(sizes.max()) or 1.0

    def at(value: float) -> float:
        return width / 2 + float(np.clip(value / reach, -1, 1)) * (width / 2 - 6)

    drawing.add("line", class_="zero", x1=at(0), x2=at(0), y1=0, y2=height)
    for value in values:
        drawing.add("line", class_="rug", x1=at(value), x2=at(value), y1=5, y2=height - 5)
    if interval:
        kind = verdict or "even"
        y = height / 2
        drawing.add("line", class_=f"span {kind}", x1=at(interval.low), x2=at(interval.high), y1=y, y2=y)
        drawing.add("circle", class_=f"spot {kind}", cx=at(interval.mean), cy=y, r=4)
    return drawing.markup()


def bars(rows: Sequence[tuple[str, Mapping[str, float]]], phases: Sequence[str], title: str) -> Markup:
    """Stacked bars, a row each, of seconds by phase, and their sum behind them."""
    row = 30
    drawing = Drawing(_WIDTH, len(rows) * row + 78, title)
    longest = max(sum(parts.values()) for _, parts in rows)
    left = _left([label for label, _ in rows])
    axis = Axis(0, longest, left, _WIDTH - 70)
    axis.low = 0.0
    top, bottom = 30, 30 + len(rows) * row + 4
    at = left
    for number, phase in enumerate(phases):
        drawing.add("rect", class_=f"fill tint{number % TINTS}", x=at, y=4, width=12, height=12)
        drawing.add("text", phase, class_="name", x=at + 18, y=15)
        at += 40 + 7.2 * len(phase)
    _scale(drawing, axis, bottom, title, top)
    for number, (label, parts) in enumerate(rows):
        middle = top + number * row + row / 2
        _name(drawing, label, left, middle)
        at = axis(0)
        for tint, phase in enumerate(phases):
            length = axis(parts.get(phase, 0.0)) - axis(0)
            if length > 0:
                said = f"{label}, {phase}: {parts[phase]:.2f} s"
                shape = {"x": at, "y": middle - 8, "width": length, "height": 16}
                drawing.add("rect", class_=f"fill tint{tint % TINTS}", title=said, **shape)
            at += length
        drawing.add("text", f"{sum(parts.values()):.1f} s", class_="tick", x=at + 7, y=middle + 4)
    return drawing.markup()


def _scale(drawing: Drawing, axis: Axis, bottom: float, title: str, top: float = 0) -> None:
    """Lines and numbers of a horizontal axis."""
    for tick in axis.ticks:
        drawing.add("line", class_="grid", x1=axis(tick), x2=axis(tick), y1=top, y2=bottom)
        drawing.add("text", axis.label(tick), class_="tick", x=axis(tick), y=bottom + 15, text_anchor="middle")
    drawing.add("line", class_="base", x1=axis.start, x2=axis.end, y1=bottom, y2=bottom)
    middle = (axis.start + axis.end) / 2
    drawing.add("text", title, class_="axis", x=middle, y=bottom + 34, text_anchor="middle")


def _left(labels: Sequence[str]) -> float:
    """Room for the names at the left, pixels."""
    return max(120.0, 22 + _LETTER * min(_MOST_LETTERS, max(len(label) for label in labels)))


def _name(drawing: Drawing, label: str, left: float, middle: float) -> None:
    shown = label if len(label) <= _MOST_LETTERS else f"{label[: _MOST_LETTERS - 1]}…"
    drawing.add("text", shown, class_="name", x=left - 14, y=middle + 4, text_anchor="end", title=label)


def _mark(drawing: Drawing, colour: int, filled: bool, x: float, y: float, said: str, scale: float = 1) -> None:
    """A dot: a circle, and other shapes once all colours are used."""
    kind = f"dot tint{colour % TINTS}{'' if filled else ' hollow'}"
    r = _DOT * scale
    shape = (colour // TINTS) % 3
    if shape == 0:
        drawing.add("circle", class_=kind, cx=float(x), cy=float(y), r=r, title=said)
    elif shape == 1:
        drawing.add("rect", class_=kind, x=x - r, y=y - r, width=2 * r, height=2 * r, title=said)
    else:
        drawing.add(
            "path", class_=kind, d=f"M{x:.1f} {y - 1.3 * r:.1f}l{1.3 * r:.1f} {2.3 * r:.1f}h{-2.6 * r:.1f}z", title=said
        )


def _swarm(places: Sequence[float]) -> list[float]:
    """How far above or below the line each of these dots goes, so that few of them hide others. Sorted places."""
    taken: list[tuple[float, float]] = []
    steps = [0.0, *(side * step for step in (4.0, 8.0, 12.0) for side in (-1, 1))]
    for place in places:
        near = [off for at, off in taken[-20:] if place - at < 2 * _DOT]
        free = [step for step in steps if all(abs(step - off) >= 3.9 for off in near)]
        taken.append((place, free[0] if free else steps[len(taken) % len(steps)]))
    return [off for _, off in taken]
