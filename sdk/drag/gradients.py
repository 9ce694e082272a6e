"""Text optimisation: which gradients the latent and the text embedding see (DragText eq. 5-7; ALGORITHMS section 6).

One class serves every method that optimises a tensor `x` (a latent or a bottleneck) beside the embedding `c`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..model.precision import loss_scale
from .problem import DragProblem


def regulariser_gradient(text: Tensor, problem: DragProblem) -> Tensor:
    """Gradient of `text_weight * sum |c0 - c|` over the start token and the prompt's tokens (DragText eq. 6).

    It is analytic, a sign, so the term never enters the graph. sign(0) = 0. Returns (1, L, D).
    """
    gradient = torch.zeros_like(text)
    content = slice(0, problem.text.content_length)
    gradient[:, content] = torch.sign(text.detach()[:, content] - problem.text.tokens[:, content])
    return gradient * problem.settings.text_weight


@dataclass
class Gradients:
    """Turns the losses of one iteration into the gradients that the optimisers step on.

    joint: one backward of motion + background for both. paper: the text sees the motion loss only. official (and
    repository, the same here): what the published code computes: the text sees the motion loss twice and the
    background once and, where `leaks`, its regulariser counts once per active pair and the optimised tensor also sees
    the previous iteration's motion gradient.
    leaks: whether the method's published loop fails to clear gradients between its two backward passes (DragDiffusion
    and DragNoise do, GoodDrag does not).
    """

    problem: DragProblem
    leaks: bool = True
    _leftover: Tensor | None = None
    _scale: Tensor | None = field(init=False, default=None)
    _finite: Tensor | None = None

    def __post_init__(self) -> None:
        scale = loss_scale(self.problem.model)
        if scale != 1.0:
            self._scale = torch.full((), scale, device=self.problem.latent.device)

    def __call__(
        self, motion: Tensor, background: Tensor | None, x: Tensor, text: Tensor, active: Tensor
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Gradients for `x` and, if text is optimised, for `text`; and whether to step on them, see `usable`.

        motion: 0-d motion loss; background: 0-d weighted background loss or None; active: 0-d, number of supervised
        pairs.
        """
        x_gradient, text_gradient = self._of_both(motion, background, x, text, active)
        usable = self.usable()
        if usable is not None and self._leftover is not None:
            self._leftover = torch.where(usable, self._leftover, 0)
        return x_gradient, text_gradient, usable

    def _of_both(
        self, motion: Tensor, background: Tensor | None, x: Tensor, text: Tensor, active: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        settings = self.problem.settings
        loss = motion if background is None else motion + background
        if not settings.text:
            return self.of(loss, (x,))[0], None
        regulariser = regulariser_gradient(text, self.problem)
        if settings.gradients == "joint":
            x_gradient, text_gradient = self.of(loss, (x, text))
            return x_gradient, text_gradient + regulariser
        motion_x, motion_text = self.of(motion, (x, text), keep=background is not None)
        if settings.gradients == "paper":
            x_gradient = motion_x if background is None else motion_x + self.of(background, (x,))[0]
            return x_gradient, motion_text + regulariser
        x_gradient, text_gradient = motion_x, 2 * motion_text
        if background is not None:
            background_x, background_text = self.of(background, (x, text))
            x_gradient, text_gradient = x_gradient + background_x, text_gradient + background_text
        if not self.leaks:
            return x_gradient, text_gradient + regulariser
        if self._leftover is not None:
            x_gradient = x_gradient + self._leftover
        self._leftover = motion_x
        return x_gradient, text_gradient + active * regulariser

    def of(self, loss: Tensor, inputs: tuple[Tensor, ...], keep: bool = False) -> tuple[Tensor, ...]:
        """Gradients of one loss, scaled in half precision. keep: another one is taken on the same graph."""
        if self._scale is None:
            return torch.autograd.grad(loss, inputs, retain_graph=keep)
        gradients = torch.autograd.grad(loss * self._scale, inputs, retain_graph=keep)
        for gradient in gradients:
            finite = gradient.isfinite().all()
            self._finite = finite if self._finite is None else self._finite & finite
        return tuple(gradient / self._scale for gradient in gradients)

    def usable(self) -> Tensor | None:
        """Whether all gradients since the last call were finite, 0-d on the device; None in full precision.

        Where they were not, the scale was too large: it is halved, and the step is to be left out. At a scale of 1
        nothing is left to halve, and the step shows that the model itself overflows.
        """
        if self._scale is None or self._finite is None:
            return None
        usable = self._finite | (self._scale <= 1)
        self._scale = torch.where(usable, self._scale, self._scale / 2)
        self._finite = None
        return usable
