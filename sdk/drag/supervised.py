"""The loop that DragDiffusion and DragNoise share: track, test, pull, update (ALGORITHMS sections 2 and 4)."""

from __future__ import annotations

from collections.abc import Callable, Generator

import numpy as np
import torch
from torch import Tensor

from ..result import Step
from .features import FeatureMap
from .gradients import Gradients, check_loss
from .motion import motion_loss
from .problem import DragProblem
from .tracking import distances, handle_features, track
from .variable import Variable

# (x, text) -> feature map, and x_prev where the background term needs it.
Evaluate = Callable[[Tensor, Tensor], tuple[FeatureMap, "Tensor | None"]]
# An updated x as the fields of a Step.
Describe = Callable[[Tensor], dict[str, Tensor]]


def pull(problem: DragProblem, start: Tensor, evaluate: Evaluate, describe: Describe) -> Generator[Step, None, None]:
    """Optimise a tensor that begins as `start`, and the text embedding: a `Step` per update, and a last that looks.

    Order within an iteration, as published: forward, point tracking (not in the first), stop test, losses, update of
    the tensor, update of the text from the same forward.
    """
    settings, targets = problem.settings, problem.targets
    with torch.no_grad():
        if problem.start is None:
            original, original_previous = evaluate(start, problem.text.embedding)
        else:
            original, original_previous = problem.evaluate(problem.latent, problem.text.embedding)
        templates = handle_features(original, problem.handles)

    x = Variable(start, settings.lr)
    text = Variable(problem.text.embedding, settings.text_lr if settings.text else None)
    gradients = Gradients(problem)
    handles, moved = problem.begun, problem.start is not None

    def step(iteration: int, at: np.ndarray, state: tuple[Tensor, Tensor], **more) -> Step:
        return Step(iteration, at, tuple(distances(at, targets)), text=state[1], **describe(state[0]), **more)

    good = x.snapshot(), text.snapshot()
    for iteration in range(settings.steps):
        features, previous = evaluate(x.in_graph(), text.in_graph())
        before = handles
        if iteration or moved:  # after a start the first look tells how well the content has arrived
            handles = track(features, templates, handles, settings.tracking_radius)
        left = distances(handles, targets)
        active = problem.active(left)
        if not active.any():
            yield step(iteration, handles, (x.snapshot(), text.snapshot()), reached=True)
            return
        motion = motion_loss(
            features, handles, targets, active, settings.supervision_radius, displacement=settings.displacement
        )
        background = problem.weighted_background(previous, original_previous)
        loss = check_loss(motion if background is None else motion + background, problem.model, first=iteration == 0)
        if loss is None:
            yield step(iteration, before, good, diverged=True)
            return
        good = x.snapshot(), text.snapshot()
        x_gradient, text_gradient = gradients(motion, background, x.leaf, text.leaf, int(active.sum()))
        x.step(x_gradient)
        text.step(text_gradient)
        del features, previous, motion, background  # a graph kept for rescaling must not meet the next one
        yield step(iteration, handles, (x.snapshot(), text.snapshot()), loss=loss)

    # The published loop never tracks its last update; one more look tells where the points ended.
    with torch.no_grad():
        features, _ = evaluate(x.leaf, text.leaf)
    if not bool(features.native.isfinite().all()):
        yield step(settings.steps, handles, good, diverged=True)
        return
    handles = track(features, templates, handles, settings.tracking_radius)
    reached = not problem.active(distances(handles, targets)).any()
    yield step(settings.steps, handles, (x.snapshot(), text.snapshot()), reached=reached)
