"""The loop that DragDiffusion and DragNoise share: track, test, pull, update (ALGORITHMS sections 2 and 4)."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..model.precision import not_finite
from ..model.transfer import Late, Reading, runs_ahead
from ..result import Step
from .features import FeatureMap
from .gradients import Gradients
from .motion import motion_loss
from .problem import DragProblem
from .tracking import distances, handle_features, track
from .variable import Variable

# (x, text) -> feature map, and x_prev where the background term needs it.
Evaluate = Callable[[Tensor, Tensor], tuple[FeatureMap, "Tensor | None"]]
# An updated x as the fields of a Step.
Describe = Callable[[Tensor], dict[str, Tensor]]
# x and text at one moment.
State = tuple[Tensor, Tensor]


@dataclass
class _Iteration:
    """One that has been queued. reading: handles, distances, number of active pairs, loss."""

    number: int
    reading: Reading
    before: State
    after: State | None = None


class _Told:
    """What the host makes of the iterations, in their order."""

    def __init__(self, problem: DragProblem, describe: Describe, begin: State) -> None:
        self._problem, self._describe = problem, describe
        self._good, self._handles = begin, problem.begun
        self._left = np.linalg.norm(problem.targets - problem.begun, axis=1)
        self._loss: float | None = None

    def end(self, iteration: _Iteration) -> Step | None:
        """The last step, where this iteration found that the points have arrived or that the loss is none any more."""
        facts = iteration.reading.take()
        if not np.isfinite(facts["loss"]):
            if iteration.number == 0:
                raise not_finite(self._problem.model, "The model on this image, before anything was changed,")
            return self._step(iteration.number, self._good, diverged=True)
        self._handles, self._left = facts["handles"], facts["left"]
        if not facts["active"] > 0:
            return self._step(iteration.number, iteration.before, reached=True)
        self._good, self._loss = iteration.before, float(facts["loss"])
        return None

    def update(self, iteration: _Iteration) -> Step:
        """The step of an iteration that `end` has seen."""
        assert iteration.after is not None  # by then
        return self._step(iteration.number, iteration.after, loss=self._loss)

    def last(self, number: int, reading: Reading, state: State) -> Step:
        """The step that only looks. reading: handles, distances, number of active pairs, whether all is finite."""
        facts = reading.take()
        if not facts["finite"]:
            return self._step(number, self._good, diverged=True)
        self._handles, self._left = facts["handles"], facts["left"]
        return self._step(number, state, reached=not facts["active"] > 0)

    def _step(self, number: int, state: State, **more) -> Step:
        x, text = state
        left = tuple(self._left.tolist())
        return Step(number, self._handles, left, text=text, **self._describe(x), **more)


def pull(problem: DragProblem, start: Tensor, evaluate: Evaluate, describe: Describe) -> Generator[Step, None, None]:
    """Optimise a tensor that begins as `start`, and the text embedding: a `Step` per update, and a last that looks.

    Order within an iteration, as published: forward, point tracking (not in the first), stop test, losses, update of
    the tensor, update of the text from the same forward.
    """
    settings, targets = problem.settings, problem.aims
    with torch.no_grad():
        if problem.start is None:
            original, original_previous = evaluate(start, problem.text.embedding)
        else:
            original, original_previous = problem.evaluate(problem.latent, problem.text.embedding)
        templates = handle_features(original, problem.places(problem.handles))

    x = Variable(start, settings.lr)
    text = Variable(problem.text.embedding, settings.text_lr if settings.text else None)
    gradients = Gradients(problem)
    handles, moved = problem.places(problem.begun), problem.start is not None
    state = x.snapshot(), text.snapshot()
    told, ahead = _Told(problem, describe, state), runs_ahead(problem.latent.device)
    queue: Late[_Iteration] = Late(ahead)

    for number in range(settings.steps):
        features, previous = evaluate(x.in_graph(), text.in_graph())
        if number or moved:  # after a start the first look tells how well the content has arrived
            handles = track(features, templates, handles, settings.tracking_radius)
        left = distances(handles, targets)
        active = problem.active(left)
        motion = motion_loss(
            features, handles, targets, active, settings.supervision_radius, displacement=settings.displacement
        )
        background = problem.weighted_background(previous, original_previous)
        loss = motion if background is None else motion + background
        reading = Reading(handles=handles, left=left, active=active.sum(), loss=loss)
        iteration = _Iteration(number, reading, before=state)
        if not ahead and (end := told.end(iteration)):  # where nothing is queued, nothing is done in vain
            yield end
            return
        x_gradient, text_gradient, usable = gradients(motion, background, x.leaf, text.leaf, active.sum())
        x.step(x_gradient, usable)
        text.step(text_gradient, usable)
        iteration.after = state = x.snapshot(), text.snapshot()
        del features, previous, motion, background, loss  # the graph, before anybody else has a turn
        for due in queue.put(iteration):
            if ahead and (end := told.end(due)):
                yield end
                return
            yield told.update(due)
    for due in queue.rest():
        if end := told.end(due):
            yield end
            return
        yield told.update(due)

    # The published loop never tracks its last update; one more look tells where the points ended.
    with torch.no_grad():
        features, _ = evaluate(x.leaf, text.leaf)
    handles = track(features, templates, handles, settings.tracking_radius)
    left = distances(handles, targets)
    finite = features.native.isfinite().all()
    reading = Reading(handles=handles, left=left, active=problem.active(left).sum(), finite=finite)
    yield told.last(settings.steps, reading, state)
