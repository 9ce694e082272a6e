"""The tables of a study: methods by measure, methods by category, how drags ended, time and memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..statistics import Interval, bootstrap
from .numbers import decimals, inline, show, show_interval
from .parts import Cell, Column, Table
from .study import Arm, Measure, Study, by_item

ACROSS = 6  # columns of numbers in one table; more of them go on in the next one
ARMS_ACROSS = 8  # where they are methods, whose heads are short
_ARROWS = {"lower": "\N{DOWNWARDS ARROW} lower is better", "higher": "\N{UPWARDS ARROW} higher is better"}
_MEANS = "Means over the items that succeeded, with 95 % bootstrap intervals"
LEAST_FOR_INTERVAL = 6  # below, a bootstrap is far too sure: with three of one sign it leaves out 0 one time in four


def mean_of(study: Study, arm: Arm, measure: Measure, category: str | None = None) -> tuple[Interval | None, int]:
    """Mean over items with its interval, None where there is nothing; and of how many items."""

    def find() -> tuple[Interval | None, int]:
        values = by_item(study.values(arm, measure, category))
        found = bootstrap(list(values.values()), study.weights(arm, measure, values)) if values else None
        return found, len(values)

    return study.once(("mean", arm.label, measure.metric, category), find)


def heading(measure: Measure) -> str:
    """Title and unit."""
    metric = measure.metric
    return f"{metric.title}, {metric.unit}" if metric.unit else metric.title


def towards(measure: Measure) -> str:
    """Which way is better, in words."""
    direction = measure.metric.direction or ""
    return "\N{RIGHTWARDS ARROW} 1 is best" if direction == "one" else _ARROWS.get(direction, "")


def _under(measure: Measure) -> str:
    return "; ".join(part for part in (measure.metric.unit, towards(measure)) if part)


def places_of(study: Study, measure: Measure) -> int:
    """Decimals of a measure, alike in every table."""

    def find() -> int:
        return decimals(value for arm in study.arms for value in study.values(arm, measure).values())

    return study.once(("places", measure.metric), find)


def anchor(study: Study, measure: Measure) -> str:
    """The id of a measure's section."""
    return f"metric-{study.measures.index(measure) + 1}"


def overview(study: Study) -> Iterator[Table]:
    """A row per method, a column per measure, `ACROSS` of them in a table."""
    for first in range(0, len(study.measures), ACROSS):
        chosen = study.measures[first : first + ACROSS]
        columns = [
            Column("Method", kind="label"),
            Column("Done", "failed"),
            *(Column(m.metric.title, _under(m), link=anchor(study, m)) for m in chosen),
        ]
        best = {m: _best(study, m) for m in chosen}
        rows = []
        for arm in study.arms:
            cells = [_mean_cell(study, arm, m, None, arm.label in best[m], len(by_item(_done(arm)))) for m in chosen]
            rows.append([Cell(arm.label), _done_cell(study, arm), *cells])
        more = ", continued" if first else ""
        yield Table(f"{_MEANS}{more}.{_features(chosen)}", columns, rows)


def _features(measures: Sequence[Measure]) -> str:
    """Whose features those of the measures compare that compare features, as a sentence."""
    known: dict[str, list[str]] = {}
    for measure in measures:
        if measure.metric.features:
            known.setdefault(measure.metric.features, []).append(measure.metric.title)
    return "".join(f" Features in {', '.join(titles)}: {features}." for features, titles in known.items())


def by_category(study: Study, measure: Measure) -> Iterator[Table]:
    """One measure, methods by category; categories go down the table where there are many of them."""
    shown = [name for name in study.categories if any(study.values(arm, measure, name) for arm in study.arms)]
    shown = shown if len(study.categories) > 1 else []
    known = study.measured(measure)
    if len(shown) + 1 <= ACROSS:
        columns: list[str | None] = [None, *shown]
        heads = [Column("All" if name is None else name or "no category") for name in columns]
        rows = [
            [Cell(arm.label), *(_mean_cell(study, arm, measure, name, counted=True) for name in columns)]
            for arm in known
        ]
        yield Table(
            f"{heading(measure)}: {inline(_MEANS)}.{_features([measure])}",
            [Column("Method", kind="label"), *heads],
            rows,
        )
        return
    for first in range(0, len(known), ARMS_ACROSS):
        arms = known[first : first + ARMS_ACROSS]
        rows = [
            [
                Cell("All" if name is None else name or "no category"),
                *(_mean_cell(study, arm, measure, name, counted=True) for arm in arms),
            ]
            for name in (None, *shown)
        ]
        heads = [Column("Category", kind="label"), *(Column(arm.label) for arm in arms)]
        more = ", continued" if first else ""
        yield Table(f"{heading(measure)}: {inline(_MEANS)}{more}.{_features([measure])}", heads, rows, frozenset({1}))


def endings(study: Study) -> Table:
    """How many edits ended how."""
    kinds = sorted({row.stopped or "unknown" for arm in study.arms for row in arm.done})
    words = {
        "reached": "every point arrived",
        "steps": "all steps used",
        "stuck": "no point moved any more",
        "diverged": "the loss became NaN",
        "interrupted": "interrupted",
    }
    columns = [Column("Method", kind="label"), *(Column(words.get(kind, kind)) for kind in kinds), Column("failed")]
    rows = []
    for arm in study.arms:
        ends = [sum((row.stopped or "unknown") == kind for row in arm.done) for kind in kinds]
        failed = len(arm.failed)
        rows.append([Cell(arm.label), *(Cell(str(number)) for number in ends), Cell(str(failed), bad=failed > 0)])
    return Table("How the edits ended, as the methods themselves say: number of edits.", columns, rows)


def costs(study: Study) -> Table | None:
    """Time and memory of an edit."""
    known = [m for m in study.costs if any(any(study.values(arm, m).values()) for arm in study.arms)]
    if not known:
        return None
    columns = [
        Column("Method", kind="label"),
        Column("Done", "failed"),
        *(Column(heading(m), "mean, interval, most") for m in known),
    ]
    rows = []
    for arm in study.arms:
        cells = []
        for measure in known:
            values = study.values(arm, measure)
            cell = _mean_cell(study, arm, measure, None)
            most = max(values.values(), default=None)
            cells.append(Cell(cell.text, (*cell.small, f"most {show(most, places_of(study, measure))}")))
        rows.append([Cell(arm.label), _done_cell(study, arm), *cells])
    return Table("Time and memory of an edit.", columns, rows)


def _done(arm: Arm) -> dict[tuple[str, int], float]:
    return {(row.item, row.seed): 0.0 for row in arm.done}


def _done_cell(study: Study, arm: Arm) -> Cell:
    items = len(by_item(_done(arm)))
    failed = study.failures(arm)
    return Cell(str(items), (f"{failed} failed",), bad=failed > 0)


def _mean_cell(
    study: Study,
    arm: Arm,
    measure: Measure,
    category: str | None,
    strong: bool = False,
    usual: int | None = None,
    counted: bool = False,
) -> Cell:
    """Mean and interval. usual: a number of items that need not be said; counted: say it, and the failures, anyway."""
    found, number = mean_of(study, arm, measure, category)
    places = places_of(study, measure)
    failed = study.failures(arm, category) if counted else 0
    small = []
    if found is not None and number >= LEAST_FOR_INTERVAL:
        small.append(show_interval(found.low, found.high, places))
    if counted or (usual is not None and number not in (0, usual)):
        infinite = study.infinite(arm, measure, category)
        small.append(f"n {number}" + (f", {infinite} infinite" if infinite else ""))
    if failed:
        small.append(f"{failed} failed")
    return Cell(show(found.mean if found else None, places), tuple(small), strong, bad=failed > 0)


def _best(study: Study, measure: Measure) -> set[str]:
    """The labels of the methods with the best mean, if there is a better and a worse."""
    losses: dict[str, float] = {}
    for arm in study.arms:
        found, _ = mean_of(study, arm, measure)
        loss = measure.loss(found.mean) if found else None
        if loss is not None:
            losses[arm.label] = loss
    if len(losses) < 2 or max(losses.values()) - min(losses.values()) < 1e-12:
        return set()
    places = places_of(study, measure)
    shown = {label: show(loss, places) for label, loss in losses.items()}  # what is shown alike is marked alike
    return {label for label, text in shown.items() if text == show(min(losses.values()), places)}
