"""How long an edit will still take, from what it has done so far and from what earlier ones took.

An edit stops as soon as its points arrive, mostly long before the most steps; so during the drag the distance that is
left, and how fast it shrinks, decides, and the steps are only the bound.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

ORDER = ("identity", "invert", "drag", "denoise")
FEWEST = 4  # steps of a drag before its own speed is believed
DENOISE_PER_INVERT = 2.0  # both branches are rendered side by side


class History:
    """What the phases of earlier edits took, in seconds, and the drag in seconds per unit of distance."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._per_distance: float | None = None
        self._lock = threading.Lock()

    def learn(self, phase: str, seconds: float, distance: float = 0.0) -> None:
        with self._lock:
            self._seconds[phase] = seconds
            if phase == "drag" and distance > 0:
                self._per_distance = seconds / distance

    def seconds(self, phase: str) -> float | None:
        with self._lock:
            return self._seconds.get(phase)

    @property
    def per_distance(self) -> float | None:
        return self._per_distance


@dataclass
class Estimate:
    """Fed with every unit of work by one thread, asked by any.

    The number that is shown counts down and follows better news at once; it only grows where it has turned out to be
    badly wrong. clock: seconds.
    """

    history: History = field(default_factory=History)
    clock: Callable[[], float] = time.monotonic
    _phase: str = ""
    _began: float = 0.0
    _samples: list[tuple[float, int, float]] = field(default_factory=list)  # (time, done, distance left)
    _total: int = 0
    _spent: dict[str, float] = field(default_factory=dict)
    _shown: tuple[float, float] | None = None  # (time, seconds left)

    def advance(self, phase: str, done: int, total: int, left: float = 0.0) -> None:
        """`done` of `total` units of a phase; left: how far the points still have to go, in any one unit."""
        now = self.clock()
        if phase != self._phase:
            # What passed since the last unit went into the first one of this phase.
            began = self._samples[-1][0] if self._samples else now
            self.finish()
            self._phase, self._began, self._samples = phase, began, []
        self._total = total
        self._samples.append((now, done, left))
        expected = self._expected(now)
        if expected is None:
            return
        if self._shown is not None:
            time_shown, value = self._shown
            counted = max(0.0, value - (now - time_shown))
            if counted < expected < 2 * counted + 3:
                expected = counted
        self._shown = now, expected

    def finish(self) -> None:
        """The running phase is over; what it took is remembered for later edits."""
        if self._phase and self._samples:
            seconds = self._samples[-1][0] - self._began
            self._spent[self._phase] = seconds
            self.history.learn(self._phase, seconds, self._samples[0][2] - self._samples[-1][2])
        self._phase = ""

    @property
    def worked(self) -> frozenset[str]:
        """The phases that had something to do and are over."""
        return frozenset(self._spent)

    def seconds(self) -> float | None:
        """Seconds left, None while nothing is known."""
        if self._shown is None:
            return None
        time_shown, value = self._shown
        return max(0.0, value - (self.clock() - time_shown))

    def _expected(self, now: float) -> float | None:
        this = self._drag() if self._phase == "drag" else self._units()
        later = self._later(ORDER[ORDER.index(self._phase) + 1 :] if self._phase in ORDER else ())
        return None if this is None or later is None else this + later

    def _units(self) -> float | None:
        """Seconds for what is left of a phase whose end is known."""
        (start, first, _), (now, done, _) = self._samples[0], self._samples[-1]
        if done <= first:
            return None
        return (now - start) / (done - first) * max(0, self._total - done)

    def _drag(self) -> float | None:
        number, left = len(self._samples), self._samples[-1][2]
        known = self.history.per_distance
        if number <= FEWEST and known is None:
            return None  # a guess from the most steps would be wrong by a multiple
        # The newer half: the first steps are slower, and what is stuck should show.
        (start, _, before), (now, _, _) = self._samples[number // 2 if number > 2 * FEWEST else 0], self._samples[-1]
        own = (now - start) / (before - left) if before > left and now > start else None
        if own is None or known is None:
            per_distance = known if own is None else own
        else:
            trust = number / (number + 2 * FEWEST)  # earlier edits say more than one's own first steps
            per_distance = trust * own + (1 - trust) * known
        arrival = None if per_distance is None else left * per_distance
        guesses = [guess for guess in (self._units(), arrival) if guess is not None]
        return min(guesses, default=None)

    def _later(self, phases: Iterable[str]) -> float | None:
        total = 0.0
        for phase in phases:
            seconds = self.history.seconds(phase)
            if seconds is None and phase == "denoise":
                seconds = DENOISE_PER_INVERT * (self._spent.get("invert") or 0.0)
            if seconds is None:
                return None
            total += seconds
        return total
