"""How sure a mean is, and whether one way of editing is better than another on the same pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb

import numpy as np

from ..errors import InputError

DRAWN = 2000  # samples of a bootstrap
LEVEL = 0.95
Numbers = Sequence[float] | np.ndarray


@dataclass(frozen=True)
class Interval:
    """A mean and how far it may be off, in the values' unit. count: of the values."""

    mean: float
    low: float
    high: float
    count: int

    def __format__(self, form: str) -> str:
        """ "0.412 [0.380, 0.447]"; form: of each number, ".3f" where there is none."""
        form = form or ".3f"
        return f"{self.mean:{form}} [{self.low:{form}}, {self.high:{form}}]"


def bootstrap(values: Numbers, weights: Numbers | None = None, level: float = LEVEL, seed: int = 0) -> Interval:
    """The mean of values, with the percentile bootstrap's interval of it (Efron 1979).

    Items are drawn anew, with replacement, 2000 times; the interval holds the middle `level` of the means. weights: of
    each item in the mean, for tables that average over drags while the items are pictures; items are drawn whole, since
    drags of one picture are no independent witnesses. Equal inputs and seeds give equal intervals.

    Raises InputError for no values, for one that is not finite, and for weights that do not fit.
    """
    numbers = _numbers(values)
    shares = np.ones(len(numbers)) if weights is None else _numbers(weights)
    if len(shares) != len(numbers) or not (shares > 0).all():
        raise InputError(f"There are {len(numbers)} values and {len(shares)} weights; give a positive one for each.")
    drawn = np.random.default_rng(seed).integers(0, len(numbers), (DRAWN, len(numbers)))
    means = (numbers * shares)[drawn].sum(1) / shares[drawn].sum(1)
    outside = 100 * (1 - level) / 2
    low, high = np.percentile(means, (outside, 100 - outside))
    return Interval(float(np.average(numbers, weights=shares)), float(low), float(high), len(numbers))


def paired(first: Numbers, second: Numbers, weights: Numbers | None = None, level: float = LEVEL) -> Interval:
    """The mean difference `second - first` of the same items, in the same order, with its bootstrap interval.

    How items differ among themselves cancels, so that this is far narrower than two separate intervals. An interval
    without 0 in it is a difference that this many items can show. Raises InputError as `bootstrap`, and where the items
    are not as many on both sides.
    """
    one, other = _numbers(first), _numbers(second)
    if len(one) != len(other):
        raise InputError(
            f"There are {len(one)} and {len(other)} values; a paired difference needs the same items in both."
        )
    return bootstrap(other - one, weights, level)


@dataclass(frozen=True)
class Signs:
    """On how many items a difference was above 0, below it, and none; chance: the sign test's p."""

    above: int
    below: int
    equal: int
    chance: float


def sign_test(differences: Numbers) -> Signs:
    """The exact two-sided sign test: how likely so uneven a count, or one more uneven, is if either sign is as likely.

    Items without a difference say nothing and are left out; with none left the chance is 1. It assumes nothing of how
    differences are distributed, and does not mind how large they are. Computed with whole numbers (`math.comb`): exact
    for any count, and no reason to install scipy. Raises InputError for a difference that is not finite.
    """
    numbers = _numbers(differences, least=0)
    above, below = int((numbers > 0).sum()), int((numbers < 0).sum())
    count = above + below
    as_uneven = 2 * sum(comb(count, k) for k in range(min(above, below) + 1))
    return Signs(above, below, len(numbers) - count, min(1.0, as_uneven / 2**count))


def _numbers(values: Numbers, least: int = 1) -> np.ndarray:
    numbers = np.asarray(values, np.float64).ravel()
    if len(numbers) < least:
        raise InputError("There is no value to take a mean of; give at least one.")
    if not np.isfinite(numbers).all():
        raise InputError("A value is not a finite number; leave such items out, and say how many they were.")
    return numbers
