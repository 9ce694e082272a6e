"""GoodDrag (Zhang et al., ICLR 2025, arXiv 2404.07206): dragging alternates with denoising (ALGORITHMS 5, 6.5)."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..model.schedule import TimeGrid
from ..model.transfer import Reading
from ..result import Step
from ..settings import ResolvedSettings
from .features import FeatureMap
from .gradients import Gradients
from .motion import motion_loss
from .problem import DragProblem
from .telling import Facts, Iteration, Telling
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
def original_trajectory(problem: DragProblem, levels: int) -> tuple[tuple[FeatureMap, ...], tuple[Tensor, ...]]:
    """Feature maps of the undragged latent at the first levels, and its latents there and one level further."""
    originals, latents = [], [problem.latent]
    for level in range(levels):
        features, previous = problem.evaluate(latents[-1], problem.text.tokens, level=level, full=True)
        assert previous is not None  # full
        originals.append(features)
        latents.append(previous)
    return tuple(originals), tuple(latents)


@dataclass
class _State:
    """Latent and embedding at a level."""

    latent: Tensor
    text: Tensor
    level: int


class _Told(Telling[_State]):
    """What the host makes of the iterations. reference: the original's latents by level."""

    def __init__(self, problem: DragProblem, reference: Sequence[Tensor]) -> None:
        super().__init__(problem, _State(problem.begin, problem.text.tokens, 0))
        self._reference = reference

    def step(self, number: int, state: _State, **more: Any) -> Step:
        left, reference = tuple(self.left.tolist()), self._reference[state.level]
        return Step(
            number, self.handles, left, state.latent, state.text, level=state.level, reference=reference, **more
        )

    def over(self, iteration: Iteration[_State], facts: Facts) -> Step | None:
        """Where all points have arrived, where they are stuck, and after the last update."""
        settings, reached = self.problem.settings, not facts["active"] > 0
        stuck = bool(facts["unmoved"] >= settings.patience)
        if reached or stuck or iteration.number == settings.steps:
            return self.last(iteration.number, iteration.before, facts, reached=reached, stuck=stuck and not reached)
        return None

    def last(self, number: int, state: _State, facts: Facts, **more: bool) -> Step:
        """The step at the level where the plain denoise takes over, one further than `state`."""
        problem, level = self.problem, state.level
        with torch.no_grad():
            prediction = problem.predict(state.latent, state.text, level)
            latent = problem.denoised(prediction, state.latent, level)
        if not Reading(finite=latent.isfinite().all()).take()["finite"]:
            return self.step(number, self.good, diverged=True)
        self.handles, self.left = facts["handles"], facts["left"]
        return self.step(number, _State(latent, state.text, level + 1), **more)


def steps(problem: DragProblem) -> Generator[Step, None, None]:
    """One `Step` per update, and a last one at the level where the plain denoise takes over.

    At each of the first `drag_levels` timesteps the latent is dragged (`tracks_per_level` times `steps_per_track`
    updates, tracking after each of the former) and then denoised by one step. Features are compared with those of the
    original trajectory at the same timestep. Dragging ends for good when every point has arrived, when no point moved
    in `patience` trackings in a row, or after `steps` updates.
    """
    settings, targets, begun = problem.settings, problem.aims, problem.places(problem.handles)
    levels = min(_levels(settings), len(problem.times.timesteps))
    # The same for every drag on a picture.
    originals, reference = problem.recall(("trajectory", levels), lambda: original_trajectory(problem, levels))
    text_lr = settings.text_lr if settings.text else None
    text = Variable(problem.text.tokens, text_lr)
    gradients = Gradients(problem, leaks=False)
    # The published text variant begins every level with the original embedding and can so lose all it had learnt.
    restarts = settings.gradients in ("official", "repository")
    handles, latent = problem.places(problem.begun), problem.begin
    unmoved = torch.zeros((), dtype=torch.int64, device=latent.device)
    told, number = _Told(problem, reference), 0

    for level in range(levels):
        if restarts and level:
            text = Variable(problem.text.tokens, text_lr)
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
            iteration = Iteration(number, reading, before=state)
            if over:
                break
            if end := told.at_once(iteration):
                yield end
                return
            x_gradient, text_gradient, usable = gradients(motion, background, x.leaf, text.leaf, active.sum())
            x.step(x_gradient, usable)
            problem.hold(x, reference[level])
            text.step(text_gradient, usable)
            iteration.after = state = _State(x.snapshot(), text.snapshot(), level)
            number += 1
            if (pulls + 1) % settings.steps_per_track == 0:
                # As published, on the features from before this update.
                found = track(features, templates, handles, settings.tracking_radius)
                unmoved = torch.where((found == handles).all(), unmoved + 1, 0)
                handles = found
            del features, previous, motion, background, loss  # the graph, before anybody else has a turn
            if (yield from told.put(iteration)):
                return
        if over or level == levels - 1:
            break
        with torch.no_grad():
            prediction = problem.predict(x.leaf, text.leaf, level)
            latent = problem.denoised(prediction, x.leaf, level).detach()

    if (yield from told.rest()):
        return
    if over and (end := told.end(iteration)):
        yield end
        return
    # The published loop never tracks its last update; one more look tells where the points ended.
    with torch.no_grad():
        features, _ = problem.evaluate(x.leaf, text.leaf, level=level, full=False)
    handles = track(features, templates, handles, settings.tracking_radius)
    left = distances(handles, targets)
    facts = Reading(handles=handles, left=left, active=problem.active(left).sum()).take()
    yield told.last(number, state, facts, reached=not facts["active"] > 0)
