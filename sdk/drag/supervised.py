"""The loop that DragDiffusion and DragNoise share: track, test, pull, update (ALGORITHMS sections 2 and 4)."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import torch
from torch import Tensor

from ..model.transfer import Reading
from ..result import Step
from .features import FeatureMap
from .gradients import Gradients
from .motion import motion_loss
from .problem import DragProblem
from .telling import Facts, Iteration, Telling
from .tracking import distances, handle_features, track
from .variable import Variable

# (x, text) -> feature map, and x_prev where the background term needs it.
Evaluate = Callable[[Tensor, Tensor], tuple[FeatureMap, "Tensor | None"]]
# An updated x as the fields of a Step.
Describe = Callable[[Tensor], dict[str, Tensor]]
# x and text at one moment.
State = tuple[Tensor, Tensor]


class _Told(Telling[State]):
    """What the host makes of the iterations."""

    def __init__(self, problem: DragProblem, describe: Describe, begin: State) -> None:
        super().__init__(problem, begin)
        self._describe = describe

    def step(self, number: int, state: State, **more: Any) -> Step:
        x, text = state
        left = tuple(self.left.tolist())
        return Step(number, self.handles, left, text=text, **self._describe(x), **more)

    def over(self, iteration: Iteration[State], facts: Facts) -> Step | None:
        return None if facts["active"] > 0 else self.last(iteration.number, iteration.before, facts)

    def last(self, number: int, state: State, facts: Facts) -> Step:
        """The step that only looks."""
        self.handles, self.left = facts["handles"], facts["left"]
        return self.step(number, state, reached=not facts["active"] > 0)


def pull(
    problem: DragProblem, start: Tensor, evaluate: Evaluate, describe: Describe, held: Tensor | None = None
) -> Generator[Step, None, None]:
    """Optimise a tensor that begins as `start`, and the text embedding: a `Step` per update, and a last that looks.

    held: what the tensor is outside the mask for whoever wants it held there (`DragProblem.hold`); None for a tensor
    that has no such place.

    Order within an iteration, as published: forward, point tracking (not in the first), stop test, losses, update of
    the tensor, update of the text from the same forward.
    """
    settings, targets = problem.settings, problem.aims
    with torch.no_grad():
        if problem.start is None:
            original, original_previous = evaluate(start, problem.text.tokens)
        else:
            original, original_previous = problem.evaluate(problem.latent, problem.text.tokens)
        templates = handle_features(original, problem.places(problem.handles))

    x = Variable(start, settings.lr)
    text = Variable(problem.text.tokens, settings.text_lr if settings.text else None)
    gradients = Gradients(problem)
    handles, moved = problem.places(problem.begun), problem.start is not None
    state = x.snapshot(), text.snapshot()
    told = _Told(problem, describe, state)

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
        iteration = Iteration(number, reading, before=state)
        if end := told.at_once(iteration):
            yield end
            return
        x_gradient, text_gradient, usable = gradients(motion, background, x.leaf, text.leaf, active.sum())
        x.step(x_gradient, usable)
        if held is not None:
            problem.hold(x, held)
        text.step(text_gradient, usable)
        iteration.after = state = x.snapshot(), text.snapshot()
        del features, previous, motion, background, loss  # the graph, before anybody else has a turn
        if (yield from told.put(iteration)):
            return
    if (yield from told.rest()):
        return

    # The published loop never tracks its last update; one more look tells where the points ended.
    with torch.no_grad():
        features, _ = evaluate(x.leaf, text.leaf)
    handles = track(features, templates, handles, settings.tracking_radius)
    left = distances(handles, targets)
    finite = features.native.isfinite().all()
    facts = Reading(handles=handles, left=left, active=problem.active(left).sum(), finite=finite).take()
    if facts["finite"]:
        yield told.last(settings.steps, state, facts)
    else:
        yield told.step(settings.steps, told.good, diverged=True)
