"""The sections of a report, in the order in which they are read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from ..statistics import Interval, bootstrap
from . import effect, plots, sheets, tables
from .axes import differs, distance_and_change
from .numbers import NOTHING, count, inline, show
from .parts import Cell, Code, Column, Figure, Pairs, Part, Section, Table, Text
from .study import Arm, Measure, Study, by_item, unique

PHASES = ("encode", "identity", "invert", "drag", "denoise")
_EXPLAINED = """An item's seeds are averaged first, and means are over items; the interval is of a bootstrap over them,
so it says how far the mean would go with other items like these; of fewer than six there is none. What failed has no
measures: it is in no mean, and how many failed stands beside every mean, since means over different items do not
compare. Bold: the best mean of a column, whether or not the others are far from it."""
_PAIRED = """Every difference is of one item and seed, and the interval of their mean is a bootstrap's over items; bold
where it leaves out 0, then blue in the plot for better and orange for worse. The plot has a tick per item. The sign
test asks how likely so uneven a count of more and less would be if nothing differed; it is exact, two-sided, and leaves
out equal items. About one in twenty of many such intervals leaves out 0 by chance alone, for which nothing is
corrected."""


def summary(study: Study) -> str:
    """What the report is of, in a sentence or two."""
    items = len({(number, row.item) for number, run in enumerate(study.runs) for row in run.rows})
    drags = sum(len(run.rows) for run in study.runs)
    failed = sum(len(arm.failed) for arm in study.arms)
    models = ", ".join(dict.fromkeys(run.model for run in study.runs if run.model))
    on = f" on the model {models}" if models else ""
    arms = count(len(study.arms), "method")
    failures = "none failed" if not failed else f"{failed} failed"
    text = f"{count(drags, 'edit')} of {count(items, 'item')} by {arms}{on}; {failures}."
    for run in study.runs:
        missing = run.planned * len(run.arms) * max(1, len(run.seeds)) - len(run.rows)
        if missing > 0:
            which = f" of {run.title}" if len(study.runs) > 1 else ""
            were, are = ("was", "is") if missing == 1 else ("were", "are")
            text += f" {count(missing, 'edit')}{which} that {were} planned {are} not there yet."
    return text


def sections(study: Study, rank: Measure | None, against: Arm | None, version: str) -> tuple[list[Section], list[str]]:
    """All sections, and notes about what is damaged or missing. against: what every other method is compared with."""
    shown, gallery = sheets.sheets(study, rank)
    notes = [f"{run.title}: {note}" if len(study.runs) > 1 else note for run in study.runs for note in run.notes]
    if gallery.missing:
        names = sorted(name for _, name in gallery.missing)
        some = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
        notes.append(f"{count(len(names), 'picture')} cannot be shown, and a gap stands where they should be: {some}.")
    found = [
        *_question(study),
        Section("results", "Results", [Text(_EXPLAINED), *tables.overview(study), *_scatter(study)]),
        *_text_effect(study),
        *(_against(study, against) if against else ()),
        Section("measures", "Measures", [Text(_MEASURES)], [_measure(study, m) for m in study.measures]),
        Section("pictures", "Pictures", [Text(_pictures_text(rank)), *shown]),
        Section("costs", "Endings, time and memory", list(_costs(study))),
        Section("runs", "What was run", list(_runs(study, version))),
    ]
    if notes:
        found.insert(0, Section("notes", "Take note", [Text("", notes)]))
    return found, notes


_MEASURES = (
    "A definition, the means by category, and every edit: a dot each (hollow without text optimisation where there is "
    "the same method with it), a box from quartile to quartile with the median, and below it the mean with its "
    "95 % interval."
)


def _pictures_text(rank: Measure | None) -> str:
    if rank is None:
        return "No edit has a measure to be ranked by."
    return (
        f"Ranked by {sheets.rank_note(rank)}. Arrows go from a handle (red) to its target (blue). Pictures are scaled "
        "and compressed for this page; those of the run folder are not."
    )


def _question(study: Study) -> Iterator[Section]:
    """What experiments asked, and what was expected of them."""
    parts: list[Part] = []
    for run in study.runs:
        which = f"{run.title}: " if len(study.runs) > 1 else ""
        if run.question:
            parts.append(Text(f"{which}{run.question}"))
        if run.expected:
            parts.append(Text(f"Expected, and written down before anything was run: {run.expected}"))
    if parts:
        yield Section("question", "Question", parts)


def _scatter(study: Study) -> Iterator[Part]:
    axes = distance_and_change(study)
    if axes is None:
        yield Text("There are no measures of distance and of change whose numbers differ, so neither is plotted.")
        return
    x, y = axes
    clouds = []
    for arm in study.arms:
        across, up = study.values(arm, x), study.values(arm, y)
        points = [(_key(key), value, up[key]) for key, value in across.items() if key in up]
        both = [by_item({key: values[key] for key in across if key in up}) for values in (across, up)]
        means = None
        if len(both[0]) >= tables.LEAST_FOR_INTERVAL:
            means = (_mean(study, arm, x, both[0]), _mean(study, arm, y, both[1]))
        if points:
            clouds.append(plots.Cloud(arm.label, arm.colour, arm.filled, points, means))
    if not clouds:
        return
    places = [tables.places_of(study, m) for m in axes]
    drawn = plots.scatter(clouds, (tables.heading(x), tables.heading(y)), lambda axis, value: show(value, places[axis]))
    yield Figure(
        f"{y.metric.title} against {inline(x.metric.title)}: a dot per edit, crosses at means with 95 % intervals.",
        drawn,
    )


def _mean(study: Study, arm: Arm, measure: Measure, values: dict[str, float]) -> Interval:
    return bootstrap(list(values.values()), study.weights(arm, measure, values))


def _text_effect(study: Study) -> Iterator[Section]:
    found = effect.text_pairs(study)
    if found:
        yield Section("text", "With and without text", [Text(_PAIRED), *_compared(study, found, effect.SPLIT)])


def _against(study: Study, base: Arm) -> Iterator[Section]:
    found = effect.pairs_with(study, base)
    if found:
        yield Section("against", f"Compared with {base.label}", [Text(_PAIRED), *_compared(study, found, 0)])


def _compared(study: Study, found: Sequence[effect.Pair], split: int) -> Iterator[Part]:
    for pair in found:
        yield effect.finding(study, pair)
        made = effect.table(study, pair, split)
        if made is not None:
            yield made


def _measure(study: Study, measure: Measure) -> Section:
    metric = measure.metric
    facts = [metric.definition] if metric.definition else []
    ends = [
        tables.towards(measure).split(" ", 1)[-1].capitalize() if metric.direction else "Neither end is better",
        f"unit: {metric.unit}" if metric.unit else "",
        f"source: {metric.source}" if metric.source else "",
        f"features: {metric.features}" if metric.features else "",
        "an item weighs by its number of drags" if metric.pooled else "",
        f"in rows: {metric.name}" if metric.name != "tracked" else "",
    ]
    facts.append("; ".join(end for end in ends if end) + ".")
    parts: list[Part] = [Text(" ".join(facts))]
    series = []
    for arm in study.measured(measure):
        values = study.values(arm, measure)
        mean, number = tables.mean_of(study, arm, measure)
        shown = mean if number >= tables.LEAST_FOR_INTERVAL else None
        points = [(_key(key), value) for key, value in values.items()]
        series.append(plots.Series(arm.label, arm.colour, arm.filled, points, shown))
    if not any(one.points for one in series):
        parts.append(Text("No edit has this measure."))
        return Section(tables.anchor(study, measure), metric.title, parts)
    parts += tables.by_category(study, measure)
    if differs(study, measure):
        places = tables.places_of(study, measure)
        drawing = plots.strips(series, tables.heading(measure), lambda value: show(value, places))
        parts.append(Figure(f"{metric.title}: every edit.", drawing))
    else:
        parts.append(Text("It is the same number for every edit, so there is nothing to plot."))
    return Section(tables.anchor(study, measure), metric.title, parts)


def _key(key: tuple[str, int]) -> str:
    return f"{key[0]}, seed {key[1]}" if key[1] else key[0]


def _costs(study: Study) -> Iterator[Part]:
    yield tables.endings(study)
    found = tables.costs(study)
    if found is None:
        yield Text("The rows say nothing of time and memory.")
        return
    yield found
    named = {phase for arm in study.arms for row in arm.done for phase in row.seconds or ()}
    phases = [phase for phase in PHASES if phase in named] + sorted(named.difference(PHASES))
    rows = []
    for arm in study.arms:
        timed = [row.seconds for row in arm.done if row.seconds]
        if timed:
            rows.append((arm.label, {p: sum(s.get(p, 0.0) for s in timed) / len(timed) for p in phases}))
    if rows and phases:
        drawing = plots.bars(rows, phases, "seconds an edit, mean")
        yield Figure(
            "Seconds an edit by phase. What is paid once per picture (encode, identity, invert) may fall on whichever "
            "method came first; others find it done.",
            drawing,
        )


def _runs(study: Study, version: str) -> Iterator[Part]:
    titles = unique([run.title for run in study.runs])
    for run, title in zip(study.runs, titles):
        facts = {
            "made": run.created,
            "model": run.model,
            "fingerprint": run.fingerprint,
            "device": run.device,
            "seeds": ", ".join(str(seed) for seed in run.seeds),
            "items planned": str(run.planned or ""),
            "edits": f"{len(run.rows)}, of which {sum(bool(row.error) for row in run.rows)} failed",
            "versions": ", ".join(f"{name} {value}" for name, value in run.versions.items() if value),
        }
        rows = [[Cell(name), Cell(value)] for name, value in facts.items() if value]
        yield Table(f"{title}.", [Column("", kind="label"), Column("", kind="text")], rows)
        if run.command:
            yield Text("To make it again:")
            yield Code(run.command)
    yield from _settings(study)
    made = f"This report is made by dragtext report, version {version}, from the run's folder alone."
    yield Text(made.replace("run's folder", "runs' folders") if len(study.runs) > 1 else made)


def _settings(study: Study) -> Iterator[Part]:
    """What differs between the arms as a table, and the rest as a list."""
    known = [arm for arm in study.arms if arm.run.arms.get(arm.name)]
    if not known:
        yield Text("The manifest does not tell the methods' settings.")
        return
    names = list(dict.fromkeys(name for arm in known for name in arm.run.arms[arm.name]))
    values = {name: [_value(arm.run.arms[arm.name].get(name, NOTHING)) for arm in known] for name in names}
    varied = [name for name in names if len(set(values[name])) > 1]
    if varied:
        for first in range(0, len(known), tables.ACROSS):
            arms = range(first, min(first + tables.ACROSS, len(known)))
            heads = [Column("Setting", kind="label"), *(Column(known[i].label, kind="text") for i in arms)]
            rows = [[Cell(name), *(Cell(values[name][i]) for i in arms)] for name in varied]
            yield Table(f"Settings that differ between the methods{', continued' if first else ''}.", heads, rows)
    same = [(name, values[name][0]) for name in names if name not in varied]
    if same:
        yield Pairs("Settings of all methods" if len(known) > 1 else "Settings", same)


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
