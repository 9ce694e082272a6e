"""DragDiffusion (Shi et al., CVPR 2024, arXiv 2306.14435), with DragText's text optimisation (ALGORITHMS 2, 6.2)."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch

from ..errors import ModelError
from ..result import Step
from .motion import background_loss, motion_loss
from .problem import DragProblem
from .text import Gradients
from .tracking import distances, handle_features, track


def steps(problem: DragProblem) -> Iterator[Step]:
    """Optimise the latent (and the text embedding), one `Step` per update, and a last one that only looks.

    Order within an iteration, as published: forward, point tracking (not in the first), stop test, losses, update of
    the latent, update of the text from the same forward.
    """
    settings, targets = problem.settings, problem.targets
    with torch.no_grad():
        start_features, start_previous = problem.evaluate(problem.latent, problem.text.embedding)
        templates = handle_features(start_features, problem.handles)

    latent = problem.latent.detach().clone().requires_grad_()
    text = problem.text.embedding.detach().clone().requires_grad_(settings.text)
    latent_optimiser = torch.optim.Adam([latent], lr=settings.lr)
    text_optimiser = torch.optim.Adam([text], lr=settings.text_lr) if settings.text else None
    gradients = Gradients(problem)
    handles = problem.handles
    good = (latent.detach().clone(), text.detach().clone())

    for iteration in range(settings.steps):
        # The graph saves views of the leaves, and the optimisers change the leaves in place.
        features, previous = problem.evaluate(latent.clone(), text.clone() if settings.text else text)
        before = handles
        if iteration:
            handles = track(features, templates, handles, settings.tracking_radius)
        left = distances(handles, targets)
        if (left < settings.reach_distance).all():
            yield Step(iteration, handles, tuple(left), *_snapshot(latent, text), reached=True)
            return

        active = left >= settings.reach_distance
        motion = motion_loss(features, handles, targets, active, settings.supervision_radius)
        background = None
        if previous is not None:
            background = settings.mask_weight * background_loss(previous, start_previous, problem.mask)
        loss = float(motion.detach() if background is None else (motion + background).detach())
        if not math.isfinite(loss):
            if iteration == 0:
                raise ModelError("The model gives NaN on this image before anything was changed; use --dtype float32.")
            left = distances(before, targets)
            yield Step(iteration, before, tuple(left), *good, diverged=True)
            return
        good = _snapshot(latent, text)

        latent.grad, text_gradient = gradients(motion, background, latent, text, int(active.sum()))
        latent_optimiser.step()
        if text_optimiser is not None:
            text.grad = text_gradient
            text_optimiser.step()
        yield Step(iteration, handles, tuple(left), *_snapshot(latent, text), loss=loss)

    # The published loop never tracks its last update; one more look tells where the points ended.
    features = problem.look(latent.detach(), text.detach())
    handles = track(features, templates, handles, settings.tracking_radius)
    left = distances(handles, targets)
    reached = bool((left < settings.reach_distance).all())
    yield Step(settings.steps, handles, tuple(left), *_snapshot(latent, text), reached=reached)


def _snapshot(latent: torch.Tensor, text: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return latent.detach().clone(), text.detach().clone()
