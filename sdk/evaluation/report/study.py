"""Several runs seen as one study: which arms there are, which of them differ by the text alone, what each measured."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from .run import Metric, Row, Run

TEXT = "+text"
MEGABYTE = 2**20
Key = tuple[str, int]  # item and seed
T = TypeVar("T")


@dataclass(frozen=True)
class Arm:
    """A method as one run did it.

    label: its name, with the run's where several runs have one of that name. number: the run's, from 0. colour: a
    number from 0; two arms that differ by the text alone share it. filled: how its points are drawn; only the one
    without text of such two is hollow. without: the label of the same arm without text, or None.
    """

    label: str
    run: Run
    number: int
    name: str
    rows: tuple[Row, ...]
    colour: int
    filled: bool
    without: str | None

    @property
    def done(self) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if not row.error)

    @property
    def failed(self) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if row.error)


@dataclass(frozen=True)
class Measure:
    """A number that rows may have. read: it from a row, None where there is none. runs: those it is of, by number."""

    metric: Metric
    read: Callable[[Row], float | None]
    runs: frozenset[int]

    def of(self, row: Row) -> float | None:
        """The number, None where there is none or where it is not finite."""
        value = self.read(row)
        return value if value is not None and math.isfinite(value) else None

    def loss(self, value: float) -> float | None:
        """The smaller, the better; None for a number of which neither end is better."""
        return {
            "lower": value,
            "higher": -value,
            "one": abs(value - 1),
        }.get(self.metric.direction or "")


@dataclass(frozen=True)
class Study:
    """measures: what the runs measured; costs: seconds and memory; categories: in the order of their first rows."""

    runs: tuple[Run, ...]
    arms: tuple[Arm, ...]
    measures: tuple[Measure, ...]
    costs: tuple[Measure, ...]
    categories: tuple[str, ...]
    _known: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)

    def once(self, key: Any, make: Callable[[], T]) -> T:
        """What `make` returns, asked for once: tables and plots want the same means again and again."""
        if key not in self._known:
            self._known[key] = make()
        return self._known[key]

    def arm(self, label: str) -> Arm:
        return next(arm for arm in self.arms if arm.label == label)

    def measured(self, measure: Measure) -> tuple[Arm, ...]:
        """The arms of the runs that have the measure."""
        return tuple(arm for arm in self.arms if arm.number in measure.runs)

    def values(self, arm: Arm, measure: Measure, category: str | None = None) -> dict[Key, float]:
        """By item and seed, of what succeeded and is finite. category: None for all of them."""
        if arm.number not in measure.runs:
            return {}
        rows = (row for row in arm.done if category in (None, row.category))
        found = {(row.item, row.seed): measure.of(row) for row in rows}
        return {key: value for key, value in found.items() if value is not None}

    def weights(self, arm: Arm, measure: Measure, items: Iterable[str]) -> list[float] | None:
        """Of each item in a mean: its number of drags for a measure that is averaged over drags, else None."""
        if not measure.metric.pooled:
            return None
        drags = {row.item: max(1, len(row.drags)) for row in arm.rows}
        return [float(drags[item]) for item in items]

    def infinite(self, arm: Arm, measure: Measure, category: str | None = None) -> int:
        """How many values are left out because they are not finite."""
        values = [measure.read(row) for row in arm.done if category in (None, row.category)]
        return sum(value is not None and not math.isfinite(value) for value in values)

    def failures(self, arm: Arm, category: str | None = None) -> int:
        return sum(category in (None, row.category) for row in arm.failed)


def by_item(values: dict[Key, float]) -> dict[str, float]:
    """The mean over an item's seeds, which are no independent trials."""
    seeds: dict[str, list[float]] = {}
    for (item, _), value in values.items():
        seeds.setdefault(item, []).append(value)
    return {item: sum(found) / len(found) for item, found in seeds.items()}


def make_study(runs: Sequence[Run]) -> Study:
    """Put runs side by side. Metrics of one name are one column only where they are defined alike."""
    runs = tuple(runs)
    return Study(
        runs=runs,
        arms=tuple(_arms(runs)),
        measures=tuple(_measures(runs)),
        costs=tuple(_costs(runs)),
        categories=tuple(dict.fromkeys(row.category for run in runs for row in run.rows)),
    )


def _arms(runs: tuple[Run, ...]) -> Iterable[Arm]:
    names = [name for run in runs for name in run.arms]
    titles = unique([run.title for run in runs])
    colours: dict[tuple[int, str], int] = {}
    for number, (run, title) in enumerate(zip(runs, titles)):

        def label(name: str, title: str = title) -> str:
            return f"{name} ({title})" if names.count(name) > 1 else name

        for name in run.arms:
            plain = name[: -len(TEXT)] if name.endswith(TEXT) else None
            paired = plain is not None and plain in run.arms
            # Those that differ by the text share a colour, whichever of them comes first.
            colour = colours.setdefault((number, plain if paired and plain else name), len(colours))
            yield Arm(
                label=label(name),
                run=run,
                number=number,
                name=name,
                rows=tuple(row for row in run.rows if row.arm == name),
                colour=colour,
                filled=f"{name}{TEXT}" not in run.arms,
                without=label(plain) if paired and plain else None,
            )


def unique(titles: list[str]) -> list[str]:
    """Numbered where two are alike."""
    return [t if titles.count(t) < 2 else f"{t}, {titles[: i + 1].count(t)}" for i, t in enumerate(titles)]


def _measures(runs: tuple[Run, ...]) -> Iterable[Measure]:
    found: dict[Metric, set[int]] = {}
    for number, run in enumerate(runs):
        for metric in run.metrics.values():
            found.setdefault(metric, set()).add(number)
    titles = unique([run.title for run in runs])
    for metric, numbers in found.items():
        if sum(other.title == metric.title for other in found) > 1:
            several = ", ".join(titles[number] for number in sorted(numbers))
            shown = replace(metric, title=f"{metric.title} ({metric.name if len(runs) < 2 else several})")
        else:
            shown = metric
        yield Measure(shown, _reader(metric.name), frozenset(numbers))
    everywhere = frozenset(range(len(runs)))
    if any(row.distance_left is not None for run in runs for row in run.rows):
        yield Measure(_TRACKED, lambda row: row.distance_left, everywhere)


def _reader(name: str) -> Callable[[Row], float | None]:
    return lambda row: (row.metrics or {}).get(name)


_TRACKED = Metric(
    "tracked",
    "Distance left, as tracked",
    "px",
    "lower",
    "Mean distance of the handles to their targets at the end, where the loop's own tracker believes the handles to "
    "be: a belief and not a measurement.",
    "",
    "the dragged model's own",
)


def _costs(runs: tuple[Run, ...]) -> Iterable[Measure]:
    everywhere = frozenset(range(len(runs)))
    yield Measure(Metric("seconds", "Time, all phases", "s", "lower"), total_seconds, everywhere)
    yield Measure(
        Metric("dragging", "Time of dragging", "s", "lower"), lambda row: (row.seconds or {}).get("drag"), everywhere
    )
    yield Measure(Metric("update", "Time of an update", "ms", "lower"), _update_time, everywhere)
    yield Measure(Metric("updates", "Updates"), lambda row: float(row.updates), everywhere)
    yield Measure(
        Metric("memory", "Peak memory", "MB", "lower"),
        lambda row: None if row.peak_memory is None else row.peak_memory / MEGABYTE,
        everywhere,
    )


def _update_time(row: Row) -> float | None:
    drag = (row.seconds or {}).get("drag")
    return 1000 * drag / row.updates if drag and row.updates else None


def total_seconds(row: Row) -> float | None:
    return sum(row.seconds.values()) if row.seconds else None
