"""What a change of method changes, above all optimising the text: paired differences on the same items and seeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ..statistics import Interval, Signs, bootstrap, sign_test
from . import plots
from .numbers import count, decimals, show, show_interval, show_p
from .parts import Cell, Column, Table, Text
from .study import Arm, Measure, Study, by_item
from .tables import LEAST_FOR_INTERVAL, heading, places_of

LISTED = 8  # lines of a finding
SPLIT, SPLIT_FINELY = 6, 2  # so many measures are also shown by category: of up to six categories, and of more


@dataclass(frozen=True)
class Pair:
    """Two arms to compare: `other` less `base`. names: how the table's columns call them."""

    base: Arm
    other: Arm
    names: tuple[str, str]

    @property
    def title(self) -> str:
        base, other = self.base.label, self.other.label
        return f"{base}, with text less without" if self.text else f"{other} less {base}"

    @property
    def text(self) -> bool:
        """Whether the text is all that differs."""
        return self.other.without == self.base.label


@dataclass(frozen=True)
class Effect:
    """`other` less `base` over the items that both did. differences: by item; for a measure of which 1 is best, of the
    distance from 1. before, after: means of the two; mean: of the differences.
    """

    measure: Measure
    differences: Mapping[str, float]
    before: float
    after: float
    mean: float
    interval: Interval | None
    signs: Signs

    @property
    def verdict(self) -> str:
        """ "better" or "worse" where the interval leaves out 0, "more" or "less" without a direction; else ""."""
        if self.interval is None or self.interval.low <= 0 <= self.interval.high:
            return ""
        gained = self.interval.mean > 0
        if self.measure.metric.direction is None:
            return "more" if gained else "less"
        return "better" if gained == (self.measure.metric.direction == "higher") else "worse"


def text_pairs(study: Study) -> list[Pair]:
    """The arms that are there without and with text."""
    found = [(study.arm(arm.without), arm) for arm in study.arms if arm.without is not None]
    return [Pair(base, other, ("Without", "With text")) for base, other in found]


def pairs_with(study: Study, base: Arm) -> list[Pair]:
    """Every other arm of the same run beside `base`."""
    others = (arm for arm in study.arms if arm.number == base.number and arm is not base)
    return [Pair(base, other, (base.label, other.label)) for other in others]


def effect(study: Study, pair: Pair, measure: Measure, category: str | None = None) -> Effect | None:
    """None where the two have no item in common."""
    base, other = (study.values(arm, measure, category) for arm in (pair.base, pair.other))
    common = [key for key in base if key in other]
    if not common:
        return None

    def judged(value: float) -> float:
        return abs(value - 1) if measure.metric.direction == "one" else value

    differences = by_item({key: judged(other[key]) - judged(base[key]) for key in common})
    weights = study.weights(pair.base, measure, differences)
    found = bootstrap(list(differences.values()), weights)
    signs = sign_test(list(differences.values()))
    sides = [by_item({key: values[key] for key in common}) for values in (base, other)]
    return Effect(
        measure=measure,
        differences=differences,
        before=bootstrap(list(sides[0].values()), weights).mean,
        after=bootstrap(list(sides[1].values()), weights).mean,
        mean=found.mean,
        interval=found if len(differences) >= LEAST_FOR_INTERVAL else None,
        signs=signs,
    )


def table(study: Study, pair: Pair, split: int = SPLIT) -> Table | None:
    """A row per measure, and for the first `split` of them a row per category. None without common items."""
    columns = [
        Column("Measure", kind="label"),
        Column("n", "items"),
        *(Column(name) for name in pair.names),
        Column("Difference", "95 % interval"),
        Column("Item by item", "less \N{LEFTWARDS ARROW} 0 \N{RIGHTWARDS ARROW} more", kind="plot"),
        Column("Items", "better / equal / worse"),
        Column("p", "sign test"),
    ]
    rows: list[list[Cell]] = []
    groups = set()
    split = min(split, SPLIT_FINELY) if len(study.categories) > SPLIT else split
    for number, measure in enumerate((*study.measures, *study.costs)):
        all_of = effect(study, pair, measure)
        if all_of is None or (measure in study.costs and not _worth_a_row(all_of)):
            continue
        groups.add(len(rows))
        rows.append(_row(study, all_of, all_of, None))
        if number < min(split, len(study.measures)) and any(all_of.differences.values()):
            parts = [(name, effect(study, pair, measure, name)) for name in study.categories]
            known = [(name, one) for name, one in parts if one is not None]
            if len(known) > 1:
                rows += [_row(study, one, all_of, name) for name, one in known]
    if not rows:
        return None
    failed = len(pair.base.failed) + len(pair.other.failed)
    lost = (
        f"; {count(failed, 'edit')} of the two failed and {'is' if failed == 1 else 'are'} in no pair" if failed else ""
    )
    return Table(f"{pair.title}, on the same items and seeds{lost}.", columns, rows, frozenset(groups))


def _worth_a_row(one: Effect) -> bool:
    """Seconds of all phases are not: what is paid once per picture falls on the arm that comes first."""
    return one.measure.metric.name != "seconds" and any(one.differences.values())


def _row(study: Study, one: Effect, all_of: Effect, category: str | None) -> list[Cell]:
    """all_of: the same for all categories, which gives decimals and scale."""
    places, own = places_of(study, one.measure), _decimals(study, all_of)
    direction, signs = one.measure.metric.direction, one.signs
    features = one.measure.metric.features
    notes = [f"features: {features}"] if features else []
    notes += ["difference of the distance from 1"] if direction == "one" else []
    title = heading(one.measure) if category is None else f"\N{EM SPACE}{category or 'no category'}"
    better, worse = (signs.above, signs.below) if direction == "higher" else (signs.below, signs.above)
    sure = one.interval
    return [
        Cell(title, tuple(notes) if category is None else ()),
        Cell(str(len(one.differences))),
        Cell(show(one.before, places)),
        Cell(show(one.after, places)),
        Cell(
            show(one.mean, own, sign=True),
            (show_interval(sure.low, sure.high, own, sign=True),) if sure else (),
            strong=bool(one.verdict),
        ),
        Cell(
            plot=plots.difference(list(one.differences.values()), sure, one.verdict, list(all_of.differences.values()))
        ),
        Cell(
            f"{better} / {signs.equal} / {worse}",
            ("less / equal / more",) if direction is None and category is None else (),
        ),
        Cell(show_p(signs.chance)),
    ]


def finding(study: Study, pair: Pair) -> Text:
    """What the intervals say."""
    found = [one for measure in study.measures if (one := effect(study, pair, measure)) is not None]
    known = [one for one in found if one.interval is not None]
    if not known:
        return Text(f"{pair.title}: too few items in common for an interval (fewer than {LEAST_FOR_INTERVAL}).")
    sure = list(_told(study, known))
    said = f"{pair.title}, {count(len(known), 'measure')}: "
    if not sure:
        return Text(f"{said}every interval includes 0.")
    rest = len(known) - len(sure)
    tail = f"; {'that' if rest == 1 else 'those'} of the other {rest if rest > 1 else 'one'} " if rest else ""
    tail += ("includes 0" if rest == 1 else "include 0") if rest else ""
    leaves = "interval leaves" if len(sure) == 1 else "intervals leave"
    listed = sure if len(sure) <= LISTED else [*sure[: LISTED - 1], f"{len(sure) - LISTED + 1} more, in the table"]
    return Text(f"{said}{len(sure)} {leaves} out 0{tail}.", listed)


def _told(study: Study, known: list[Effect]) -> Iterator[str]:
    for one in known:
        if one.verdict and one.interval:
            places = _decimals(study, one)
            ends = show_interval(one.interval.low, one.interval.high, places, sign=True)
            told = f"{show(one.mean, places, sign=True)} {ends}, n {len(one.differences)}"
            yield f"{heading(one.measure)}: {one.verdict}, {told}"


def _decimals(study: Study, one: Effect) -> int:
    """Of differences, which may be far smaller than what they are of."""
    places = places_of(study, one.measure)
    return max(places, decimals(one.differences.values())) if any(one.differences.values()) else places
