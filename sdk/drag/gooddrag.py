"""GoodDrag (Zhang et al., ICLR 2025, arXiv 2404.07206): dragging alternates with denoising (ALGORITHMS 5, 6.5)."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..model.precision import not_finite
from ..model.schedule import TimeGrid
from ..model.transfer import Late, Reading, runs_ahead
from ..result import Step
from ..settings import ResolvedSettings
from .features import FeatureMap
from .gradients import Gradients
from .motion import motion_loss
from .problem import DragProblem
from .tracking import distances, handle_features, track
from .variable import Variable

DEFAULTS: dict[str, Any] = {
    "start": "none",
    "repaint": "mask",
    "steps": 210,
    "lr": 0.02,
    "mask_weight": 0.1,
    "strength": 0.75,
    "supervision_radius": 4,
    "tracking_radius": 12,
    "displacement": 4.0,
    "shared_attention": True,
    "lora_steps": 70,
    "lora_lr": 5e-4,
    "drag_levels": 7,
}


def most_steps(settings: ResolvedSettings) -> int:
    """Updates that fit into the levels: no more than there are timesteps."""
    levels = min(_levels(settings), len(TimeGrid.of(settings.strength, settings.inference_steps).timesteps))
    return levels * settings.tracks_per_level * settings.steps_per_track


def _levels(settings: ResolvedSettings) -> int:
    assert settings.drag_levels is not None  # `resolve` fills it in for this method
    return settings.drag_levels


@torch.no_grad()
def original_trajectory(problem: DragProblem, levels: int) -> tuple[list[FeatureMap], list[Tensor]]:
    """Feature maps of the undragged latent at the first levels, and its latents there and one level further."""
    originals, latents = [], [problem.latent]
    for level in range(levels):
        features, previous = problem.evaluate(latents[-1], problem.text.embedding, level=level, full=True)
        assert previous is not None  # full
        originals.append(features)
        latents.append(previous)
    return originals, latents


@dataclass
class _State:
    """Latent and embedding at a level."""

    latent: Tensor
    text: Tensor
    level: int


@dataclass
class _Iteration:
    """One that has been queued. reading: handles, distances, number of active pairs, trackings without a move, loss."""

    number: int
    reading: Reading
    before: _State
    after: _State | None = None


class _Told:
    """What the host makes of the iterations, in their order. reference: the original's latents by level."""

    def __init__(self, problem: DragProblem, reference: list[Tensor]) -> None:
        self._problem, self._reference = problem, reference
        self._good = _State(problem.begin, problem.text.embedding, 0)
        self._handles = problem.begun
        self._left = np.linalg.norm(problem.targets - problem.begun, axis=1)
        self._loss: float | None = None

    def end(self, iteration: _Iteration, over: bool = False) -> Step | None:
        """The last step, where this iteration found that the drag is over.

        It is so where all points have arrived, where they are stuck, where the loss is no number, and where the caller
        says that it is.
        """
        facts = iteration.reading.take()
        if not np.isfinite(facts["loss"]):
            if iteration.number == 0:
                raise not_finite(self._problem.model, "The model on this image, before anything was changed,")
            return self._step(iteration.number, self._good, diverged=True)
        reached = not facts["active"] > 0
        stuck = bool(facts["unmoved"] >= self._problem.settings.patience)
        if reached or stuck or over:
            return self.last(iteration.number, iteration.before, facts, reached=reached, stuck=stuck and not reached)
        self._handles, self._left, self._good = facts["handles"], facts["left"], iteration.before
        self._loss = float(facts["loss"])
        return None

    def update(self, iteration: _Iteration) -> Step:
        """The step of an iteration that `end` has seen."""
        assert iteration.after is not None  # by then
        return self._step(iteration.number, iteration.after, loss=self._loss)

    def last(self, number: int, state: _State, facts: dict[str, np.ndarray], **more: bool) -> Step:
        """The step at the level where the plain denoise takes over, one further than `state`."""
        problem, level = self._problem, state.level
        with torch.no_grad():
            prediction = problem.model.predict(state.latent, problem.times.timesteps[level], state.text)
            latent = problem.denoised(prediction, state.latent, level)
        if not Reading(finite=latent.isfinite().all()).take()["finite"]:
            return self._step(number, self._good, diverged=True)
        self._handles, self._left = facts["handles"], facts["left"]
        return self._step(number, _State(latent, state.text, level + 1), **more)

    def _step(self, number: int, state: _State, **more: Any) -> Step:
        left, reference = tuple(self._left.tolist()), self._reference[state.level]
        return Step(
            number, self._handles, left, state.latent, state.text, level=state.level, reference=reference, **more
        )


def steps(problem: DragProblem) -> Generator[Step, None, None]:
    """One `Step` per update, and a last one at the level where the plain denoise takes over.

    At each of the first `drag_levels` timesteps the latent is dragged (`tracks_per_level` times `steps_per_track`
    updates, tracking after each of the former) and then denoised by one step. Features are compared with those of the
    original trajectory at the same timestep. Dragging ends for good when every point has arrived, when no point moved
    in `patience` trackings in a row, or after `steps` updates.
    """
    settings, targets, begun = problem.settings, problem.aims, problem.places(problem.handles)
    levels = min(_levels(settings), len(problem.times.timesteps))
    originals, reference = original_trajectory(problem, levels)
    text_lr = settings.text_lr if settings.text else None
    text = Variable(problem.text.embedding, text_lr)
    gradients = Gradients(problem, leaks=False)
    # The published text variant begins every level with the original embedding and can so lose all it had learnt.
    restarts = settings.gradients in ("official", "repository")
    handles, latent = problem.places(problem.begun), problem.begin
    unmoved = torch.zeros((), dtype=torch.int64, device=latent.device)
    told, ahead = _Told(problem, reference), runs_ahead(latent.device)
    queue: Late[_Iteration] = Late(ahead)
    number = 0

    for level in range(levels):
        if restarts and level:
            text = Variable(problem.text.embedding, text_lr)
        x = Variable(latent, settings.lr)
        templates = handle_features(originals[level], begun)
        state = _State(x.snapshot(), text.snapshot(), level)
        for pulls in range(settings.tracks_per_level * settings.steps_per_track):
            features, previous = problem.evaluate(x.in_graph(), text.in_graph(), level=level)
            over = number == settings.steps
            if pulls == 0 or over:
                handles = track(features, templates, handles, settings.tracking_radius)
            left = distances(handles, targets)
            active = problem.active(left)
            motion = motion_loss(
                features,
                handles,
                targets,
                active,
                settings.supervision_radius,
                displacement=settings.displacement,
                factor=float(max(1, (2 * settings.supervision_radius) ** 2)),
                original=(originals[level], begun),
            )
            background = problem.weighted_background(previous, reference[level + 1])
            loss = motion if background is None else motion + background
            reading = Reading(handles=handles, left=left, active=active.sum(), unmoved=unmoved, loss=loss)
            iteration = _Iteration(number, reading, before=state)
            if over:
                break
            if not ahead and (end := told.end(iteration)):  # where nothing is queued, nothing is done in vain
                yield end
                return
            x_gradient, text_gradient, usable = gradients(motion, background, x.leaf, text.leaf, active.sum())
            x.step(x_gradient, usable)
            text.step(text_gradient, usable)
            iteration.after = state = _State(x.snapshot(), text.snapshot(), level)
            number += 1
            if (pulls + 1) % settings.steps_per_track == 0:
                # As published, on the features from before this update.
                found = track(features, templates, handles, settings.tracking_radius)
                unmoved = torch.where((found == handles).all(), unmoved + 1, 0)
                handles = found
            del features, previous, motion, background, loss  # the graph, before anybody else has a turn
            for due in queue.put(iteration):
                if ahead and (end := told.end(due)):
                    yield end
                    return
                yield told.update(due)
        if over or level == levels - 1:
            break
        with torch.no_grad():
            prediction = problem.model.predict(x.leaf, problem.times.timesteps[level], text.leaf)
            latent = problem.denoised(prediction, x.leaf, level).detach()

    for due in queue.rest():
        if end := told.end(due):
            yield end
            return
        yield told.update(due)
    if over and (end := told.end(iteration, over=True)):
        yield end
        return
    # The published loop never tracks its last update; one more look tells where the points ended.
    with torch.no_grad():
        features, _ = problem.evaluate(x.leaf, text.leaf, level=level, full=False)
    handles = track(features, templates, handles, settings.tracking_radius)
    left = distances(handles, targets)
    facts = Reading(handles=handles, left=left, active=problem.active(left).sum()).take()
    yield told.last(number, state, facts, reached=not facts["active"] > 0)
