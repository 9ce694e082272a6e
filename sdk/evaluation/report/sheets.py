"""Contact sheets: the same items by every method; best, median and worst of each; and all that failed."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from ...errors import InputError
from ...picture.drawing import draw_instruction
from ...picture.reading import load_image
from ...request import Drag, Point
from .numbers import count, inline, show
from .parts import Card, Picture, Sheet
from .run import Row, Run
from .study import Arm, Measure, Study
from .tables import heading, places_of

EACH = 2  # so many of the best, the median and the worst
COMPARED, ARMS_COMPARED = 6, 6  # items and methods of the sheet that compares
_PIXELS = 22_000_000  # of all pictures together, to begin with: about 10 MB of photographs
_MOST_BYTES = 12_000_000  # of all data URIs
_LARGEST, _SMALLEST = 360, 96  # side of a picture, pixels
_QUALITY = 84
_PROMPT = 160  # characters


@dataclass
class Gallery:
    """Pictures of runs as data URIs of at most `side` pixels, each read once. size: characters of all of them."""

    side: int
    size: int = 0
    missing: set[tuple[str, str]] = field(default_factory=set)
    _known: dict[tuple[Path, tuple[Drag, ...]], str] = field(default_factory=dict)

    def picture(self, run: Run, name: str, caption: str, alt: str, drags: tuple[Drag, ...] = ()) -> Picture:
        """A file of the run's folder with its drags drawn in, or a gap."""
        path = run.picture(name)
        key = (path or run.folder / name, drags)
        if key not in self._known:
            self._known[key] = "" if path is None else self._encoded(path, drags)
        if not self._known[key] and name:
            self.missing.add((run.title, name))
        self.size += len(self._known[key])
        return Picture(self._known[key], alt, caption)

    def _encoded(self, path: Path, drags: tuple[Drag, ...]) -> str:
        try:
            full = load_image(path).visible
        except InputError:
            return ""
        share = min(1.0, self.side / max(full.shape[:2]))
        size = tuple(max(1, round(n * share)) for n in full.shape[1::-1])
        small = cv2.resize(full, size, interpolation=cv2.INTER_AREA) if share < 1 else full
        if drags:
            # Drawn after scaling, so that arrows are of one size whatever the picture's was.
            scaled = [Drag(_scaled(d.source, share), _scaled(d.target, share)) for d in drags]
            small = draw_instruction(np.ascontiguousarray(small), _near(scaled, small.shape), None)
        packed = io.BytesIO()
        Image.fromarray(small).save(packed, "JPEG", quality=_QUALITY, optimize=True)
        return "data:image/jpeg;base64," + base64.b64encode(packed.getvalue()).decode()


def _scaled(point: Point, share: float) -> Point:
    return point[0] * share, point[1] * share


def _near(drags: Sequence[Drag], shape: tuple[int, ...]) -> list[Drag]:
    """Without those whose points are so far outside that no drawing library can hold them."""
    most = 10.0 * max(shape)
    return [d for d in drags if all(abs(v) < most for point in (d.source, d.target) for v in point)]


@dataclass(frozen=True)
class Chosen:
    """Rows of an arm by how well they went. places: what each is there for ("best", "median", "worst")."""

    arm: Arm
    rows: tuple[tuple[str, Row, float], ...]


def ranked(arm: Arm, study: Study, measure: Measure) -> list[tuple[Row, float]]:
    """The arm's edits with their values, the best first; for a measure without a direction, the least first."""
    values = study.values(arm, measure)
    found = [(row, values[row.item, row.seed]) for row in arm.done if (row.item, row.seed) in values]

    def order(pair: tuple[Row, float]) -> tuple[float, str, int]:
        loss = measure.loss(pair[1])
        return (pair[1] if loss is None else loss, pair[0].item, pair[0].seed)

    return sorted(found, key=order)


def choose(arm: Arm, study: Study, measure: Measure, each: int = EACH) -> Chosen:
    """Best, median and worst, `each` of them; fewer where there are not so many, and none twice."""
    order = ranked(arm, study, measure)
    each = max(1, min(each, len(order) // 3))
    middle = max(0, (len(order) - each) // 2)
    places = {
        "best": range(each),
        "median": range(middle, middle + each),
        "worst": range(len(order) - each, len(order)),
    }
    taken: dict[int, str] = {}
    for name in ("best", "worst", "median"):
        for index in places[name]:
            if 0 <= index < len(order):
                taken.setdefault(index, name)
    return Chosen(arm, tuple((taken[index], *order[index]) for index in sorted(taken)))


def compared(study: Study, measure: Measure) -> list[tuple[str, int, int]]:
    """Items that most methods did, evenly from those that go well on average to the others: (item, seed, run)."""
    losses: dict[tuple[str, int, int], list[float]] = {}
    for arm in study.arms:
        order = [(row.item, row.seed, arm.number) for row, _ in ranked(arm, study, measure)]
        for rank, key in enumerate(order):
            losses.setdefault(key, []).append(rank / max(1, len(order) - 1))
    most = max((len(found) for found in losses.values()), default=0)
    full = [key for key, found in losses.items() if len(found) == most]
    full.sort(key=lambda key: (sum(losses[key]) / len(losses[key]), key))
    steps = np.unique(np.linspace(0, len(full) - 1, min(COMPARED, len(full))).round().astype(int)) if full else []
    return [full[step] for step in steps]


def sheets(study: Study, measure: Measure | None) -> tuple[list[Sheet], Gallery]:
    """All sheets. measure: by which edits are ranked; None where there is none, and only failures are shown."""
    plans: list[tuple[str, int, list[Callable[[Gallery], Card]]]] = []
    if measure is not None:
        by = inline(measure.metric.title)
        if len(study.arms) > 1:
            cards = [_comparison(study, measure, key) for key in compared(study, measure)]
            few = f", the first {ARMS_COMPARED} of them" if len(study.arms) > ARMS_COMPARED else ""
            how = f"The same items by every method{few}, from those that go well to those that do not, by {by}."
            plans.append((how, 1, cards))
        for arm in study.arms:
            chosen = choose(arm, study, measure)
            cards = [_single(study, measure, arm, *one) for one in chosen.rows]
            total = len(ranked(arm, study, measure))
            across = 2 if len(cards) > 3 else 3
            plans.append((f"{arm.label}: best, median and worst of {count(total, 'edit')} by {by}.", across, cards))
    failed = _failures(study)
    if failed:
        number = sum(len(arm.failed) for arm in study.arms)
        plans.append((f"All failures: {count(number, 'edit')} of {count(len(failed), 'item')}.", 3, failed))
    wanted = sum(_pictures(study, cards, across) for _, across, cards in plans)
    side = int(np.clip(math.sqrt(_PIXELS / max(1, wanted)), _SMALLEST, _LARGEST))
    while True:  # until they fit into a page, or cannot become smaller
        gallery = Gallery(side)
        made = [Sheet(caption, [card(gallery) for card in cards], across) for caption, across, cards in plans if cards]
        if gallery.size <= _MOST_BYTES or side == _SMALLEST:
            return made, gallery
        side = max(_SMALLEST, int(side * min(0.8, math.sqrt(_MOST_BYTES / gallery.size))))


def _pictures(study: Study, cards: Sequence[object], across: int) -> int:
    """About how many pictures so many cards hold."""
    return len(cards) * {1: 2 + min(ARMS_COMPARED, len(study.arms)), 2: 3}.get(across, 2)


def _comparison(study: Study, measure: Measure, key: tuple[str, int, int]) -> Callable[[Gallery], Card]:
    item, seed, number = key
    rows = {
        arm.label: row
        for arm in study.arms
        if arm.number == number
        for row in arm.rows
        if (row.item, row.seed) == (item, seed)
    }
    first = next(iter(rows.values()))
    places = places_of(study, measure)

    def card(gallery: Gallery) -> Card:
        run = study.runs[number]
        shown = [*_before(gallery, run, first)]
        for arm in [arm for arm in study.arms if arm.label in rows][:ARMS_COMPARED]:
            row = rows[arm.label]
            value = study.values(arm, measure).get((item, seed))
            caption = f"{arm.label}: failed" if row.error else f"{arm.label}: {show(value, places)}"
            shown.append(gallery.picture(run, row.picture, caption, f"{item} by {arm.label}"))
        return Card(_name(study, first, number), shown, _prompt(first))

    return card


def _single(study: Study, measure: Measure, arm: Arm, place: str, row: Row, value: float) -> Callable[[Gallery], Card]:
    def card(gallery: Gallery) -> Card:
        before = list(_before(gallery, arm.run, row))
        result = gallery.picture(arm.run, row.picture, "result", f"{row.item} by {arm.label}")
        shown = [before[0], result, *before[1:]]
        title = f"{place}: {_name(study, row, arm.number)}, {show(value, places_of(study, measure))}"
        return Card(title, shown, _prompt(row))

    return card


def _failures(study: Study) -> list[Callable[[Gallery], Card]]:
    """A card per item, with what every method and seed said."""
    found: dict[tuple[int, str], list[tuple[Arm, Row]]] = {}
    for arm in study.arms:
        for row in arm.failed:
            found.setdefault((arm.number, row.item), []).append((arm, row))

    def make(number: int, failed: list[tuple[Arm, Row]]) -> Callable[[Gallery], Card]:
        first = failed[0][1]
        seeds = len({row.seed for run in study.runs for row in run.rows}) > 1

        def card(gallery: Gallery) -> Card:
            run = study.runs[number]
            shown = [next(_before(gallery, run, first))]
            shown += [
                gallery.picture(run, r.picture, a.label, f"{r.item} by {a.label}") for a, r in failed if r.picture
            ]
            errors = [(f"{a.label}, seed {r.seed}" if seeds else a.label, r.error) for a, r in failed]
            title = f"{run.title}: {first.item}" if len(study.runs) > 1 else first.item
            return Card(title, shown, _prompt(first), errors)

        return card

    return [make(number, failed) for (number, _), failed in found.items()]


def _before(gallery: Gallery, run: Run, row: Row) -> Iterator[Picture]:
    """The original with its drags, and the true picture where there is one."""
    original, truth = run.beside(row, "original.png"), run.beside(row, "truth.png")
    yield gallery.picture(run, original, "original", f"{row.item} before, with its drags", row.drags)
    if run.picture(truth) is not None:
        yield gallery.picture(run, truth, "true picture", f"{row.item} as it should be")


def _name(study: Study, row: Row, number: int) -> str:
    parts = [study.runs[number].title] if len(study.runs) > 1 else []
    parts.append(row.item)
    if len({other.seed for run in study.runs for other in run.rows}) > 1:
        parts.append(f"seed {row.seed}")
    return ", ".join(parts)


def _prompt(row: Row) -> Sequence[str]:
    if not row.prompt:
        return ()
    return (row.prompt if len(row.prompt) <= _PROMPT else f"{row.prompt[: _PROMPT - 1]}…",)


def rank_note(measure: Measure) -> str:
    """By what and how the sheets are ordered."""
    direction = {
        "lower": "the lowest is best",
        "higher": "the highest is best",
        "one": "what is closest to 1 is best",
    }.get(measure.metric.direction or "", "neither end is better; the lowest stands first")
    return f"{inline(heading(measure))} ({direction})"
