"""FreeDrag (Ling et al., CVPR 2024, arXiv 2307.04684), the diffusion version (ALGORITHMS 3, 6.4).

No point tracker: each pair has a template of features that is pulled to a current target on the way to the final one.
A line search picks the current target so that the next piece of the way is neither too easy nor too hard.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..model.precision import not_finite
from ..model.transfer import Reading
from ..result import Step
from ..settings import ResolvedSettings
from .features import FeatureMap
from .gradients import Gradients, regulariser_gradient
from .problem import DragProblem
from .tracking import distances
from .variable import Variable

DEFAULTS: dict[str, Any] = {
    "start": "none",
    "repaint": "mask",
    "steps": 300,
    "lr": 0.01,
    "mask_weight": 10.0,
    "strength": 0.7,
    "supervision_radius": 4,
    "tracking_radius": 3,  # not used: there is no point tracker
    "displacement": 5.0,
    "shared_attention": True,
    "lora_steps": 200,
    "lora_lr": 2e-4,
}

FRACTIONS = 10  # candidates on a line


def sample(features: FeatureMap, centres: Tensor, radius: int) -> Tensor:
    """Bilinear samples (n, C, 2r+1, 2r+1) around (n, 2) fractional grid (row, col); beyond the border it repeats."""
    return features.between(centres, radius)


def difficulty(samples: Tensor, templates: Tensor) -> Tensor:
    """(n,) mean L1 differences between samples and templates, both (n, C, 2r+1, 2r+1) (FreeDrag eq. 4)."""
    return (samples - templates).abs().mean(dim=(1, 2, 3))


def template_weight(loss: Tensor, expected: float) -> Tensor:
    """How much of the new features enters the template: 0.5 at a loss of 0.2 l, 0.1 at 0.8 l (FreeDrag eq. 6, 7)."""
    slope = math.log(9) / (0.6 * expected)
    return 1 / (1 + (slope * (loss - 0.2 * expected)).clamp(max=700.0).exp())


@torch.no_grad()
def search(
    features: FeatureMap,
    templates: Tensor,
    current: Tensor,
    goals: Tensor,
    loss_first: Tensor,
    loss_end: Tensor,
    settings: ResolvedSettings,
) -> tuple[Tensor, Tensor]:
    """The next current targets on the lines to `goals`, and whether each search went on or stayed rather than back.

    current, goals: (n, 2) grid (row, col). loss_first, loss_end: (n,) feature losses at the first step of the last
    round and after it. Normal (the loss got small): the candidate ahead whose difficulty is closest to
    `expected_loss`. Keep (smaller than at first): stay. Rollback (it grew): the easiest candidate between a step
    behind and a step ahead. Returns (n, 2) and (n,) bool.
    """
    expected, reach = settings.expected_loss, settings.displacement
    ahead = (loss_end < 0.5 * expected)[:, None]
    stay = ~ahead & (loss_end < loss_first)[:, None]
    step = _share(goals - current, reach) * (goals - current)
    begin = torch.where(ahead, current, current - step)
    stop = torch.where(ahead, current + step, begin + _share(goals - begin, 2 * reach) * (goals - begin))
    fractions = torch.arange(1, FRACTIONS + 1, device=current.device, dtype=current.dtype) / FRACTIONS
    candidates = begin[:, None] + fractions[:, None] * (stop - begin)[:, None]  # (n, 10, 2)
    losses = torch.stack(
        [
            difficulty(sample(features, places, settings.supervision_radius), template[None])
            for places, template in zip(candidates, templates)
        ]
    )
    best = torch.where(ahead, (losses - expected).abs(), losses).argmin(dim=1)
    found = candidates.gather(1, best[:, None, None].expand(-1, 1, 2))[:, 0]
    return torch.where(stay, current, found), (ahead | stay)[:, 0]


def _share(way: Tensor, reach: float) -> Tensor:
    """(n, 1): which part of the way a step of `reach` is, at most all of it."""
    return (reach / (torch.linalg.vector_norm(way, dim=1, keepdim=True) + 1e-8)).clamp(max=1.0)


def steps(problem: DragProblem) -> Generator[Step, None, None]:
    """One `Step` per update, and a last one that only tells the end. Handles are the current targets.

    A round chooses current targets and pulls the templates there in at most `inner_steps` updates; then the templates
    adapt. It ends when every pair is at its goal with a small loss. Whether an update was the last of its round is for
    the host to decide, so every update is read at once, before its backward pass.
    """
    settings, goals = problem.settings, problem.aims
    radius, small = settings.supervision_radius, 0.5 * settings.expected_loss
    x = Variable(problem.begin, settings.lr)
    text = Variable(problem.text.tokens, settings.text_lr if settings.text else None)
    with torch.no_grad():
        features, start_previous = problem.evaluate(problem.latent, problem.text.tokens)
        templates = sample(features, problem.places(problem.handles), radius)
    current = problem.places(problem.begun)
    loss_first = loss_end = current.new_zeros(len(current))
    done = torch.zeros(len(current), dtype=torch.bool, device=current.device)
    updates = _Published(problem) if settings.gradients in ("official", "repository") else _Joint(problem)
    good = state = x.snapshot(), text.snapshot()
    told = {"current": problem.begun, "left": np.linalg.norm(problem.targets - problem.begun, axis=1)}
    number = 0
    # The evaluation that closes a round also serves the first update of the next one.
    pending = None

    def step(state: tuple[Tensor, Tensor], **more: Any) -> Step:
        return Step(number, told["current"], tuple(told["left"].tolist()), *state, **more)

    while number < settings.steps:
        found, forward = search(features, templates, current, goals, loss_first, loss_end, settings)
        current = torch.where(done[:, None], current, found)
        advancing, left = (forward & ~done).any(), distances(current, goals)
        for inner in range(settings.inner_steps):
            if number == settings.steps:
                break
            live, previous = pending or problem.evaluate(x.in_graph(), text.in_graph())
            pending = None
            losses = difficulty(sample(live, current, radius), templates)
            background = problem.weighted_background(previous, start_previous)
            if background is not None:
                background = background / problem.latent.numel()  # a mean where the other methods have a sum
            motion = losses.sum()
            loss = motion if background is None else motion + background
            if inner == 0:
                loss_first = losses.detach()
            facts = Reading(
                current=current, left=left, done=done.all(), loss=loss, hardest=losses.max(), advancing=advancing
            ).take()
            if not np.isfinite(facts["loss"]):
                if number == 0:
                    raise not_finite(problem.model, "The model on this image, before anything was changed,")
                yield step(good, diverged=True)
                return
            told = facts
            if facts["done"]:
                yield step(state, reached=True)
                return
            good, success = state, bool(facts["hardest"] < small)
            updates.apply(x, text, motion, background, success, bool(facts["advancing"]))
            problem.hold(x, problem.latent)
            state = x.snapshot(), text.snapshot()
            del live, previous, losses, motion, background, loss  # the graph, before anybody else has a turn
            yield step(state, loss=float(facts["loss"]))
            number += 1
            if success:
                break
        pending = problem.evaluate(x.in_graph(), text.in_graph())
        features = FeatureMap(pending[0].native.detach(), problem.grid)
        fresh = sample(features, current, radius)
        loss_end = difficulty(fresh, templates)
        done = (distances(current, goals) < settings.reach_distance) & (loss_end <= small)
        weight = torch.where(done, 1.0, template_weight(loss_end.to(current.dtype), settings.expected_loss))
        weight = weight[:, None, None, None]
        templates = weight.float() * fresh + (1 - weight).float() * templates
    pending = None
    facts = Reading(done=done.all(), finite=loss_end.isfinite().all()).take()
    if not facts["finite"]:
        yield step(good, diverged=True)
        return
    yield step(state, reached=bool(facts["done"]))


class _Joint:
    """Latent and text move together at every update; `joint` and `paper` as for the other methods."""

    def __init__(self, problem: DragProblem) -> None:
        self._gradients = Gradients(problem)
        self._one = torch.ones((), device=problem.latent.device)  # the regulariser counts once, not per pair

    def apply(self, x: Variable, text: Variable, motion: Tensor, background: Tensor | None, *_: bool) -> None:
        x_gradient, text_gradient, usable = self._gradients(motion, background, x.leaf, text.leaf, self._one)
        x.step(x_gradient, usable)
        text.step(text_gradient, usable)


class _Published:
    """What the published code computes, with its leftovers (ALGORITHMS 6.4).

    In the original repository ("official" with text off) there is one backward per update and nothing is left over. In
    DragText's, which "repository" names when text is off, an update that is not successful leaves its gradient to the
    next one, and the text is stepped only where a round succeeds, on all that has accumulated since.
    """

    def __init__(self, problem: DragProblem) -> None:
        self._problem, self._gradients = problem, Gradients(problem)
        self._leaks = problem.settings.text or problem.settings.gradients == "repository"
        self._left: Tensor | None = None
        self._text: Tensor | None = None

    def apply(
        self,
        x: Variable,
        text: Variable,
        motion: Tensor,
        background: Tensor | None,
        success: bool,
        advancing: bool,
    ) -> None:
        optimises_text = self._problem.settings.text
        inputs = (x.leaf, text.leaf) if optimises_text else (x.leaf,)
        motion_part = self._gradients.of(motion, inputs, keep=background is not None)
        whole = motion_part
        if background is not None:
            whole = tuple(m + b for m, b in zip(motion_part, self._gradients.of(background, inputs)))
        usable = self._gradients.usable()
        if usable is not None:  # what is to be left out must not be left over either
            motion_part, whole = (
                tuple(torch.where(usable, part, 0) for part in parts) for parts in (motion_part, whole)
            )
        x_gradient = whole[0] if self._left is None else whole[0] + self._left
        self._left = None
        if optimises_text:
            self._text = whole[1] if self._text is None else self._text + whole[1]
        x.step(x_gradient, usable)
        if not success:
            if self._leaks:  # the same backward a second time
                self._left = whole[0]
                if self._text is not None:
                    self._text = self._text + whole[1]
        elif optimises_text and advancing:
            self._left = motion_part[0]
            assert self._text is not None  # set above
            text.step(self._text + motion_part[1] + regulariser_gradient(text.leaf, self._problem), usable)
            self._text = None
