"""GoodDrag (Zhang et al., ICLR 2025, arXiv 2404.07206): dragging alternates with denoising (ALGORITHMS 5, 6.5)."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..model.schedule import TimeGrid, ddim_step
from ..result import Step
from ..settings import ResolvedSettings
from .features import FeatureMap
from .gradients import Gradients, check_loss
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


def steps(problem: DragProblem) -> Generator[Step, None, None]:
    """One `Step` per update, and a last one at the level where the plain denoise takes over.

    At each of the first `drag_levels` timesteps the latent is dragged (`tracks_per_level` times `steps_per_track`
    updates, tracking after each of the former) and then denoised by one step. Features are compared with those of the
    original trajectory at the same timestep. Dragging ends for good when every point has arrived, when no point moved
    in `patience` trackings in a row, or after `steps` updates.
    """
    settings, targets = problem.settings, problem.targets
    model, times = problem.model, problem.times
    levels = min(_levels(settings), len(times.timesteps))
    originals, reference = original_trajectory(problem, levels)
    text_lr = settings.text_lr if settings.text else None
    text = Variable(problem.text.embedding, text_lr)
    gradients = Gradients(problem, leaks=False)
    # The published text variant begins every level with the original embedding and can so lose all it had learnt.
    restarts = settings.gradients in ("official", "repository")
    handles, latent = problem.begun, problem.begin
    iteration = unmoved = 0

    for level in range(levels):
        if restarts and level:
            text = Variable(problem.text.embedding, text_lr)
        x = Variable(latent, settings.lr)
        templates = handle_features(originals[level], problem.handles)
        good = x.snapshot(), text.snapshot()
        tracks = pulls = 0
        ended = reached = stuck = False
        where = {"level": level, "reference": reference[level]}
        while tracks < settings.tracks_per_level and not ended:
            features, previous = problem.evaluate(x.in_graph(), text.in_graph(), level=level)
            if tracks == pulls == 0 or iteration == settings.steps:
                handles = track(features, templates, handles, settings.tracking_radius)
            left = distances(handles, targets)
            active = problem.active(left)
            reached, stuck = not active.any(), unmoved >= settings.patience
            if reached or stuck or iteration == settings.steps:
                ended = True
                break
            motion = motion_loss(
                features,
                handles,
                targets,
                active,
                settings.supervision_radius,
                displacement=settings.displacement,
                factor=float(max(1, (2 * settings.supervision_radius) ** 2)),
                original=(originals[level], problem.handles),
            )
            background = problem.weighted_background(previous, reference[level + 1])
            loss = check_loss(
                motion if background is None else motion + background, problem.model, first=iteration == 0
            )
            if loss is None:
                yield Step(iteration, handles, tuple(left), *good, diverged=True, **where)
                return
            good = x.snapshot(), text.snapshot()
            x_gradient, text_gradient = gradients(motion, background, x.leaf, text.leaf, int(active.sum()))
            x.step(x_gradient)
            text.step(text_gradient)
            state = x.snapshot(), text.snapshot()
            yield Step(iteration, handles, tuple(left), *state, loss=loss, **where)
            iteration += 1
            pulls += 1
            if pulls == settings.steps_per_track:
                tracks, pulls = tracks + 1, 0
                # As published, on the features from before this update.
                found = track(features, templates, handles, settings.tracking_radius)
                unmoved = unmoved + 1 if np.array_equal(found, handles) else 0
                handles = found
            del features, previous, motion, background  # a graph kept for rescaling must not meet the next one
        last = level == levels - 1
        if last and not ended:
            # The published loop never tracks its last update; one more look tells where the points ended.
            with torch.no_grad():
                features, _ = problem.evaluate(x.leaf, text.leaf, level=level, full=False)
            handles = track(features, templates, handles, settings.tracking_radius)
            reached = not problem.active(distances(handles, targets)).any()
        with torch.no_grad():
            prediction = model.predict(x.leaf, times.timesteps[level], text.leaf)
            latent = ddim_step(model, times, prediction, x.leaf, times.timesteps[level]).detach()
        if not bool(latent.isfinite().all()):
            yield Step(iteration, handles, tuple(distances(handles, targets)), *good, diverged=True, **where)
            return
        if ended or last:
            yield Step(
                iteration,
                handles,
                tuple(distances(handles, targets)),
                latent,
                text.snapshot(),
                reached=reached,
                stuck=stuck and not reached,
                level=level + 1,
                reference=reference[level + 1],
            )
            return
