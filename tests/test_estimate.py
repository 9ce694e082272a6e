"""How long an edit still takes, on made-up edits whose end is known."""

from __future__ import annotations

import itertools

import pytest
from dragtext.extension.estimate import Estimate, History


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def play(estimate: Estimate, clock: Clock, *, used: int, most: int, step: float, first: float = 1.0):
    """An edit: LoRA, inversion, `used` of `most` steps, denoise. Returns (time, shown seconds left, phase)."""
    shown = []

    def go(phase, units, total, seconds, left):
        for done in range(1, units + 1):
            clock.now += seconds
            estimate.advance(phase, done, total, left(done))
            shown.append((clock.now, estimate.seconds(), phase))

    go("identity", 80, 80, 0.1 * first, lambda _done: 0.0)
    go("invert", 40, 40, 0.05, lambda _done: 0.0)
    # The tracker looks at every third update only, and the points wait a little before they move.
    go("drag", used, most, step, lambda done: 40.0 * (1 - max(0, done // 3 * 3 - 3) / max(1, used - 3)))
    go("denoise", 38, 38, 0.1, lambda _done: 0.0)
    estimate.finish()
    return shown


@pytest.mark.parametrize(("used", "most"), [(90, 210), (210, 210), (30, 500)])
def test_an_edit_that_stops_early(used, most):
    clock = Clock()
    shown = play(Estimate(clock=clock), clock, used=used, most=most, step=0.6)
    end = shown[-1][0]
    drag = [(time, left) for time, left, phase in shown if phase == "drag"]
    # Nothing is better than a guess from the most steps.
    assert all(left is None for _, left, phase in shown if phase != "drag" and phase != "denoise")
    late = [(time, left) for time, left in drag[len(drag) // 4 :] if left is not None]
    assert len(late) > len(drag) / 2
    for time, left in late:
        assert (end - time) / 2 - 3 <= left <= 2 * (end - time) + 3


def test_a_second_edit_knows_from_the_start():
    history, clock = History(), Clock()
    play(Estimate(history, clock), clock, used=90, most=210, step=0.6)
    start = clock.now
    shown = play(Estimate(history, clock), clock, used=90, most=210, step=0.6)
    total = clock.now - start
    for time, left, _ in shown[2:]:
        assert left == pytest.approx(start + total - time, abs=0.25 * total)


def test_it_counts_down():
    history, clock = History(), Clock()
    play(Estimate(history, clock), clock, used=90, most=210, step=0.6)
    shown = [left for _, left, _ in play(Estimate(history, clock), clock, used=120, most=210, step=0.6)]
    pairs = itertools.pairwise(shown)
    rises = [after - before for before, after in pairs if before is not None and after > before + 1e-9]
    assert len(rises) <= 3  # only where it was badly wrong
    before = Estimate(history, clock)
    before.advance("drag", 1, 210, 40.0)
    first = before.seconds()
    clock.now += 5
    assert before.seconds() == pytest.approx(first - 5)
    clock.now += 10_000
    assert before.seconds() == 0


def test_points_that_do_not_move_leave_the_most_steps():
    clock = Clock()
    estimate = Estimate(clock=clock)
    for done in range(1, 51):
        clock.now += 1
        estimate.advance("drag", done, 100, 40.0)
    assert estimate.seconds() == pytest.approx(50, abs=3)
