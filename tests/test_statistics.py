"""How sure a mean is: intervals and tests whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from dragtext.sdk.errors import InputError
from dragtext.sdk.evaluation.statistics import Interval, Signs, bootstrap, paired, sign_test


def test_equal_values_are_sure_and_one_of_two_is_not():
    assert bootstrap([0.5] * 7) == Interval(0.5, 0.5, 0.5, 7)
    assert bootstrap([3.0]) == Interval(3.0, 3.0, 3.0, 1)
    # Of two items drawn twice, a quarter of the samples holds only the first: 2.5 % and 97.5 % are 0 and 1.
    assert bootstrap([0, 1]) == Interval(0.5, 0.0, 1.0, 2)
    assert bootstrap([0, 1], level=0.4).low == 0.5
    assert f"{bootstrap([0, 1]):+.1f} {bootstrap([0, 1])}" == "+0.5 [+0.0, +1.0] 0.500 [0.000, 1.000]"


def test_the_interval_is_that_of_the_normal_distribution_where_there_are_many():
    values = np.random.default_rng(1).normal(2, 1, 400)
    found = bootstrap(values)
    error = values.std() / 20
    assert found.low == pytest.approx(values.mean() - 1.96 * error, abs=0.2 * error)
    assert found.high == pytest.approx(values.mean() + 1.96 * error, abs=0.2 * error)
    assert bootstrap(values) == found
    assert bootstrap(values + 5).low == pytest.approx(found.low + 5)


def test_a_picture_of_three_drags_counts_three_times_and_is_drawn_whole():
    assert bootstrap([0, 1], [1, 3]) == Interval(0.75, 0.0, 1.0, 2)
    assert bootstrap([2, 2, 2], [1, 5, 9]) == Interval(2.0, 2.0, 2.0, 3)


def test_what_items_share_cancels_in_a_paired_difference():
    first = np.arange(20.0)
    assert paired(first, first + 0.25) == Interval(0.25, 0.25, 0.25, 20)
    assert paired(first, first[::-1]).mean == 0
    assert paired(first, first[::-1]).low < -2


@pytest.mark.parametrize(
    ("differences", "signs"),
    [
        ([1] * 5, Signs(5, 0, 0, 2 / 32)),
        ([-1] * 10, Signs(0, 10, 0, 2 / 1024)),
        ([0.1] * 8 + [-9, -9], Signs(8, 2, 0, 2 * (1 + 10 + 45) / 1024)),
        ([1, -1, 0, 0], Signs(1, 1, 2, 1.0)),
        ([0, 0], Signs(0, 0, 2, 1.0)),
        ([], Signs(0, 0, 0, 1.0)),
        ([1] * 3000, Signs(3000, 0, 0, 0.0)),
    ],
)
def test_the_sign_test_counts_exactly(differences, signs):
    assert sign_test(differences) == signs


def test_what_has_no_mean_is_refused():
    for call in (
        lambda: bootstrap([]),
        lambda: bootstrap([1, float("nan")]),
        lambda: bootstrap([1, 2], [1]),
        lambda: bootstrap([1, 2], [1, 0]),
        lambda: paired([1, 2], [1]),
        lambda: sign_test([float("inf")]),
    ):
        with pytest.raises(InputError):
            call()
