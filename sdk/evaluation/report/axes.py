"""Which measures come first and which are put against each other, by what they are called."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .study import Measure, Study

_MEAN_DISTANCE = r"\bmean distance\b|\bm?md\d?\b"
# Of each, the first that most edits have and that differs between them is taken.
_DISTANCES = (_MEAN_DISTANCE, r"\bremain", r"\bdistance left\b", r"\bdistance\b", r"\bway\b")
_CHANGES = (r"\blpips\b", r"\boutside\b.*\bl1\b", r"\boutside\b", r"\bfidelity\b", r"\bmse\b", r"\bchange")
_RANKS = (r"\bremain", *_DISTANCES)
_FIRST = (r"\bremain", r"\bway\b", _MEAN_DISTANCE, r"\boverlap\b", r"^(?!drag back).*\blpips\b", r"\boutside l1\b")


def in_order(measures: Sequence[Measure]) -> tuple[Measure, ...]:
    """What says most first, one of each kind; then the others as they are."""
    first = [next((m for m in measures if re.search(pattern, _words(m))), None) for pattern in _FIRST]
    return tuple(dict.fromkeys([m for m in first if m is not None] + list(measures)))


def distance_and_change(study: Study) -> tuple[Measure, Measure] | None:
    """The axes of the scatter plot: how far edits are from what was asked for, and how much else changed."""
    distance = _choose(study, _DISTANCES, None)
    change = _choose(study, _CHANGES, distance)
    return None if distance is None or change is None else (distance, change)


def ranking(study: Study, asked: str | None) -> Measure | None:
    """By which edits are ordered into best and worst: the one that is asked for by name, else one that knows best."""
    if asked is not None:
        return next((m for m in study.measures if m.metric.name == asked), None)
    directed = [m for m in study.measures if m.metric.direction and differs(study, m)]
    return _choose(study, _RANKS, None) or next(iter(directed or study.measures), None)


def differs(study: Study, measure: Measure) -> bool:
    """Whether it is not the same number for every edit."""
    values = {value for arm in study.arms for value in study.values(arm, measure).values()}
    return len(values) > 1


def _choose(study: Study, patterns: Sequence[str], but: Measure | None) -> Measure | None:
    for least in (0.5, 0.0):
        for pattern in patterns:
            for measure in study.measures:
                if measure is not but and re.search(pattern, _words(measure)) and _share(study, measure) > least:
                    return measure
    return None


def _share(study: Study, measure: Measure) -> float:
    """Of the edits that succeeded, how many have it; 0 where it is the same for all."""
    done = sum(len(arm.done) for arm in study.arms)
    found = sum(len(study.values(arm, measure)) for arm in study.arms)
    return found / done if done and differs(study, measure) else 0.0


def _words(measure: Measure) -> str:
    return re.sub(r"[-_]+", " ", f"{measure.metric.name} {measure.metric.title}").lower()
