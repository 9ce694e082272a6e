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

from ..result import Step
from ..settings import ResolvedSettings
from .features import FeatureMap
from .gradients import Gradients, check_loss, regulariser_gradient
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

FRACTIONS = np.arange(1, 11) / 10


def sample(features: FeatureMap, centre: np.ndarray, radius: int) -> Tensor:
    """Bilinear samples (C, 2r+1, 2r+1) around a fractional grid (row, col); beyond the border it repeats."""
    offsets = np.arange(-radius, radius + 1)
    return features.window(centre[0] + offsets, centre[1] + offsets)


def template_weight(loss: float, expected: float) -> float:
    """How much of the new features enters the template: 0.5 at a loss of 0.2 l, 0.1 at 0.8 l (FreeDrag eq. 6, 7)."""
    slope = math.log(9) / (0.6 * expected)
    return 1 / (1 + math.exp(min(slope * (loss - 0.2 * expected), 700.0)))


@torch.no_grad()
def search(
    features: FeatureMap,
    template: Tensor,
    current: np.ndarray,
    goal: np.ndarray,
    loss_first: float,
    loss_end: float,
    settings: ResolvedSettings,
) -> tuple[np.ndarray, bool]:
    """The next current target on the line to `goal`, and whether the search went on or stayed rather than back.

    current, goal: grid (row, col). loss_first, loss_end: feature loss at the first step of the last round and after
    it. Normal (the loss got small): the candidate ahead whose difficulty is closest to `expected_loss`. Keep (smaller
    than at first): stay. Rollback (it grew): the easiest candidate between a step behind and a step ahead.
    """
    expected, reach = settings.expected_loss, settings.displacement
    share = min(reach / (np.linalg.norm(goal - current) + 1e-8), 1.0)
    if loss_end < 0.5 * expected:
        begin, stop, forward = current, current + share * (goal - current), True
    elif loss_end < loss_first:
        return current, True
    else:
        begin, forward = current - share * (goal - current), False
        twice = min(2 * reach / (np.linalg.norm(goal - begin) + 1e-8), 1.0)
        stop = begin + twice * (goal - begin)
    candidates = [begin + fraction * (stop - begin) for fraction in FRACTIONS]
    radius = settings.supervision_radius
    losses = torch.stack([(sample(features, c, radius) - template).abs().mean() for c in candidates])
    best = int(((losses - expected).abs() if forward else losses).argmin())
    return candidates[best], forward


def steps(problem: DragProblem) -> Generator[Step, None, None]:
    """One `Step` per update, and a last one that only tells the end. Handles are the current targets.

    A round chooses current targets and pulls the templates there in at most `inner_steps` updates; then the templates
    adapt. It ends when every pair is at its goal with a small loss.
    """
    settings, goals = problem.settings, problem.targets
    radius, small = settings.supervision_radius, 0.5 * settings.expected_loss
    x = Variable(problem.begin, settings.lr)
    text = Variable(problem.text.embedding, settings.text_lr if settings.text else None)
    with torch.no_grad():
        features, start_previous = problem.evaluate(problem.latent, problem.text.embedding)
    templates = [sample(features, centre, radius) for centre in problem.handles]
    current = problem.begun
    count = len(current)
    loss_first, loss_end = np.zeros(count), np.zeros(count)
    done = np.zeros(count, dtype=bool)
    updates = _Published(problem) if settings.gradients in ("official", "repository") else _Joint(problem)
    good = x.snapshot(), text.snapshot()
    iteration = 0
    # The evaluation that closes a round also serves the first update of the next one.
    pending = None

    while not done.all() and iteration < settings.steps:
        chosen = [
            (centre, False)
            if done[i]
            else search(features, templates[i], centre, goals[i], loss_first[i], loss_end[i], settings)
            for i, centre in enumerate(current)
        ]
        current = np.stack([centre for centre, _ in chosen])
        advancing = any(forward for _, forward in chosen)
        left = tuple(distances(current, goals))
        for inner in range(settings.inner_steps):
            if iteration == settings.steps:
                break
            live, previous = pending or problem.evaluate(x.in_graph(), text.in_graph())
            pending = None
            losses = torch.stack([(sample(live, c, radius) - t).abs().mean() for c, t in zip(current, templates)])
            background = problem.weighted_background(previous, start_previous)
            if background is not None:
                background = background / problem.latent.numel()  # a mean where the other methods have a sum
            motion = losses.sum()
            loss = check_loss(
                motion if background is None else motion + background, problem.model, first=iteration == 0
            )
            if loss is None:
                yield Step(iteration, current, left, *good, diverged=True)
                return
            good = x.snapshot(), text.snapshot()
            values = losses.detach().cpu().numpy()
            if inner == 0:
                loss_first = values
            success = bool(values.max() < small)
            updates.apply(x, text, motion, background, success, advancing)
            del live, previous, losses, motion, background  # a graph kept for rescaling must not meet the next one
            yield Step(iteration, current, left, x.snapshot(), text.snapshot(), loss=loss)
            iteration += 1
            if success:
                break
        pending = problem.evaluate(x.in_graph(), text.in_graph())
        features = FeatureMap(pending[0].native.detach(), problem.grid)
        fresh = [sample(features, centre, radius) for centre in current]
        changes = torch.stack([(new - old).abs().mean() for new, old in zip(fresh, templates)])
        loss_end = np.array(changes.tolist())  # one wait for the device, however many points
        if not np.isfinite(loss_end).all():
            yield Step(iteration, current, left, *good, diverged=True)
            return
        arrived = distances(current, goals) < settings.reach_distance
        done = arrived & (loss_end <= small)
        weights = [1.0 if d else template_weight(e, settings.expected_loss) for d, e in zip(done, loss_end)]
        templates = [w * new + (1 - w) * old for w, new, old in zip(weights, fresh, templates)]
    state = x.snapshot(), text.snapshot()
    yield Step(iteration, current, tuple(distances(current, goals)), *state, reached=bool(done.all()))


class _Joint:
    """Latent and text move together at every update; `joint` and `paper` as for the other methods."""

    def __init__(self, problem: DragProblem) -> None:
        self._gradients = Gradients(problem)

    def apply(self, x: Variable, text: Variable, motion: Tensor, background: Tensor | None, *_: bool) -> None:
        x_gradient, text_gradient = self._gradients(motion, background, x.leaf, text.leaf, 1)
        x.step(x_gradient)
        text.step(text_gradient)


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
        x_gradient = whole[0] if self._left is None else whole[0] + self._left
        self._left = None
        if optimises_text:
            self._text = whole[1] if self._text is None else self._text + whole[1]
        x.step(x_gradient)
        if not success:
            if self._leaks:  # the same backward a second time
                self._left = whole[0]
                if self._text is not None:
                    self._text = self._text + whole[1]
        elif optimises_text and advancing:
            self._left = motion_part[0]
            assert self._text is not None  # set above
            text.step(self._text + motion_part[1] + regulariser_gradient(text.leaf, self._problem))
            self._text = None
