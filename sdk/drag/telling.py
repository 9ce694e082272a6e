"""What the loops that may run ahead tell the host of their iterations, in order: a step each, and the one that ends."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from ..model.precision import not_finite
from ..model.transfer import Late, Reading, runs_ahead
from ..result import Step
from .problem import DragProblem

State = TypeVar("State")  # what is optimised, at one moment
Facts = Mapping[str, np.ndarray]


@dataclass
class Iteration(Generic[State]):
    """One that has been queued. reading: handles, distances left, number of active pairs, loss, and what `over` reads.

    after: once it has been updated.
    """

    number: int
    reading: Reading
    before: State
    after: State | None = None


class Telling(ABC, Generic[State]):
    """Steps of iterations: at once, or one later where the device works by itself. begin: the state before the first.

    A loop asks `at_once` before it computes gradients, hands the iteration to `put` once it has updated, and asks for
    the `rest` after its last. Whichever finds that the drag is over tells its last step, and the loop returns.
    """

    def __init__(self, problem: DragProblem, begin: State) -> None:
        self.problem, self.good, self.handles = problem, begin, problem.begun
        self.left = np.linalg.norm(problem.targets - problem.begun, axis=1)
        self._loss: float | None = None
        self._ahead = runs_ahead(problem.latent.device)
        self._queue: Late[Iteration[State]] = Late(self._ahead)

    @abstractmethod
    def step(self, number: int, state: State, **more: Any) -> Step:
        """The step that tells a state, with `handles` and `left`."""

    @abstractmethod
    def over(self, iteration: Iteration[State], facts: Facts) -> Step | None:
        """The last step, where what was read of an iteration says that the drag is over."""

    def end(self, iteration: Iteration[State]) -> Step | None:
        """The last step, where this iteration found that the drag is over or that the loss is none any more."""
        facts = iteration.reading.take()
        if not np.isfinite(facts["loss"]):
            if iteration.number == 0:
                raise not_finite(self.problem.model, "The model on this image, before anything was changed,")
            return self.step(iteration.number, self.good, diverged=True)
        if end := self.over(iteration, facts):
            return end
        self.handles, self.left, self.good = facts["handles"], facts["left"], iteration.before
        self._loss = float(facts["loss"])
        return None

    def at_once(self, iteration: Iteration[State]) -> Step | None:
        """`end`, where nothing is queued and so nothing need be done in vain."""
        return None if self._ahead else self.end(iteration)

    def put(self, iteration: Iteration[State]) -> Generator[Step, None, bool]:
        """The steps that are due now that an iteration has been updated. Returns whether the drag is over."""
        return self._tell(self._queue.put(iteration))

    def rest(self) -> Generator[Step, None, bool]:
        """The steps that are still held."""
        return self._tell(self._queue.rest())

    def _tell(self, due: Sequence[Iteration[State]]) -> Generator[Step, None, bool]:
        for iteration in due:
            if self._ahead and (end := self.end(iteration)):
                yield end
                return True
            assert iteration.after is not None  # it has been updated
            yield self.step(iteration.number, iteration.after, loss=self._loss)
        return False
