"""Write what runs of experiments found into docs/experiments.md: tables, and a plot beside them.

    python benchmarks/experiments.py RUN...      # folders that `dragtext ablate` or `dragtext bench` wrote

A run NAME fills what stands between `<!-- NAME -->` and `<!-- end -->`; the plot goes to docs/experiments/NAME.svg.
What was found is written by whoever reads them.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from dragtext.sdk.evaluation.report import plots
from dragtext.sdk.evaluation.report.effect import Effect, Pair, effect, text_pairs
from dragtext.sdk.evaluation.report.numbers import show, show_interval, show_p
from dragtext.sdk.evaluation.report.run import read_run
from dragtext.sdk.evaluation.report.study import Arm, Measure, Study, make_study
from dragtext.sdk.evaluation.report.tables import LEAST_FOR_INTERVAL, mean_of

PAGE = Path(__file__).parent.parent / "docs" / "experiments.md"
SHOWN = ("way", "overlap", "left-behind", "remains")  # means; of the last one also differences and a plot
OUTSIDE = ("outside-psnr", "outside-l1")  # as well, where the background is what is asked about
TIMES = ("update", "memory")
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#6a4c93", "#767c85")
STYLE = """svg{background:#fff;font:13px sans-serif}text{fill:#333}.tick{fill:#666;font-size:12px}
.grid{stroke:#e4e6ea}.base{stroke:#9aa0a8}.box{fill:#eef0f3;stroke:#c9ced6}.median{stroke:#8a919c;stroke-width:2}
.interval{stroke:#111;stroke-width:2}.mean{fill:#111}.dot{fill-opacity:.75}""" + "".join(
    f".tint{number}{{fill:{colour}}}.hollow.tint{number}{{fill:#fff;stroke:{colour};stroke-width:1.4}}"
    for number, colour in enumerate(COLOURS)
)


def main() -> None:
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    text = PAGE.read_text(encoding="utf-8")
    for folder in map(Path, sys.argv[1:]):
        name = folder.resolve().name
        found = re.search(rf"(<!-- {re.escape(name)} -->\n).*?(<!-- end -->)", text, re.S)
        if found is None:
            sys.exit(f"{PAGE.name} has no place for {name}; write <!-- {name} --> and <!-- end --> where it should go.")
        study = make_study([read_run(folder)])
        text = text[: found.end(1)] + "\n".join(written(study, name)) + "\n" + text[found.start(2) :]
    PAGE.write_text(text, encoding="utf-8")


def written(study: Study, name: str) -> Iterator[str]:
    """What stands between the marks."""
    (run,) = study.runs
    if run.expected:
        yield f"Expected: {run.expected}\n"
    command = re.sub(r" (-o|--devices|--threads) \S+| -q", "", run.command)
    yield f"```\n{command} -o {name}\n```\n"
    # A processor's memory is counted for the process, whatever arm it was for.
    wanted = TIMES if "cuda" in run.device else TIMES[:1]
    timed = [measure for measure in study.costs if measure.metric.name in wanted]
    kinds = (*SHOWN, *OUTSIDE) if name.endswith("background") else SHOWN
    places = [measure for kind in kinds for measure in study.measures if measure.metric.name == kind]
    shown = [*(timed if name.endswith("overhead") else places)]
    shown = [measure for measure in shown if any(study.values(arm, measure) for arm in study.arms)]
    yield from table(
        ["arm", "items", *(f"{m.metric.title}{f', {m.metric.unit}' if m.metric.unit else ''}" for m in shown)],
        ([f"`{arm.label}`", number(study, arm), *(mean(study, arm, m) for m in shown)] for arm in study.arms),
    )
    last = shown[0] if name.endswith("overhead") else shown[-1]
    pairs = list(compared(study))
    yield from table(
        ["difference", "category", "n", f"{last.metric.title}", "better / equal / worse", "p"],
        (row for pair in pairs for row in differences(study, pair, last)),
    )
    plot = PAGE.parent / "experiments" / f"{name}.svg"
    plot.parent.mkdir(exist_ok=True)
    plot.write_text(drawn(study, pairs, last), encoding="utf-8")
    yield f"![{last.metric.title} by arm, a dot per item](experiments/{plot.name})\n"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield f"|{'---|' * len(heads)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""


def number(study: Study, arm: Arm) -> str:
    failed = f", {len(arm.failed)} failed" if arm.failed else ""
    return f"{len({row.item for row in arm.done})}{failed}"


def mean(study: Study, arm: Arm, measure: Measure) -> str:
    found, number = mean_of(study, arm, measure)
    if found is None:
        return ""
    digits = 1 if measure.metric.unit in ("ms", "MB", "px") else 2
    interval = show_interval(found.low, found.high, digits) if number >= LEAST_FOR_INTERVAL else ""
    return f"{show(found.mean, digits)} {interval}".strip()


def compared(study: Study) -> Iterator[Pair]:
    """Each arm with the same one without the text where there is one; the others with their method's first."""
    with_text = {pair.other.label: pair for pair in text_pairs(study)}
    first: dict[str, Arm] = {}
    for arm in study.arms:
        base = first.setdefault(arm.name.partition(",")[0].removesuffix("+text"), arm)
        if arm.label in with_text:
            yield with_text[arm.label]
        elif arm is not base:
            yield Pair(base, arm, (base.label, arm.label))


def differences(study: Study, pair: Pair, measure: Measure) -> Iterator[list[str]]:
    """All of it, then by category where there are several."""
    title = f"`{pair.other.label}` less `{pair.base.label}`"
    for category in (None, *(study.categories if len(study.categories) > 1 else ())):
        found = effect(study, pair, measure, category)
        if found is None:
            continue
        yield [title if category is None else "", category or "all", str(len(found.differences)), *told(found, measure)]


def told(found: Effect, measure: Measure) -> list[str]:
    digits = 2 if measure.metric.unit in ("ms", "MB") else 3
    value = show(found.mean, digits, sign=True)
    if found.interval is not None:
        value += f" {show_interval(found.interval.low, found.interval.high, digits, sign=True)}"
    signs = found.signs
    better, worse = (signs.above, signs.below) if measure.metric.direction == "higher" else (signs.below, signs.above)
    bold = f"**{value}**" if found.verdict else value
    return [bold, f"{better} / {signs.equal} / {worse}", show_p(signs.chance)]


def drawn(study: Study, pairs: Sequence[Pair], measure: Measure) -> str:
    """Every edit as a dot; where all comparisons are of the text, its effect by category instead."""
    if len(study.categories) > 2 and all(pair.text for pair in pairs):
        found = [
            (pair, category, one)
            for pair in pairs
            for category in study.categories
            if (one := effect(study, pair, measure, category)) is not None
        ]
        series = [
            plots.Series(
                f"{pair.base.label}, {category}", pair.base.colour, True, sorted(one.differences.items()), one.interval
            )
            for pair, category, one in found
        ]
        title = f"{measure.metric.title}, with text less without"
    else:
        series = []
        for arm in study.arms:
            values = [(item, value) for (item, _), value in study.values(arm, measure).items()]
            series.append(plots.Series(arm.label, arm.colour, arm.filled, values, mean_of(study, arm, measure)[0]))
        unit = f", {measure.metric.unit}" if measure.metric.unit else ""
        title = f"{measure.metric.title}{unit}"
    plot = str(plots.strips(series, title, lambda value: show(value, 3)))
    opening = f'<svg xmlns="http://www.w3.org/2000/svg"{plot[len("<svg") : plot.index(">")]}>'
    return f"{opening}<style>{STYLE}</style>{plot[plot.index('>') + 1 :]}\n"


if __name__ == "__main__":
    main()
