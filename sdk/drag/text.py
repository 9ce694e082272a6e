"""Text optimisation: which gradients the latent and the text embedding see (DragText eq. 5-7; ALGORITHMS section 6).

One class serves every method that optimises a tensor `x` (a latent or a bottleneck) beside the embedding `c`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from .problem import DragProblem


def regulariser_gradient(text: Tensor, problem: DragProblem) -> Tensor:
    """Gradient of `text_weight * sum |c0 - c|` over the start token and the prompt's tokens (DragText eq. 6).

    It is analytic, a sign, so the term never enters the graph. sign(0) = 0. Returns (1, 77, D).
    """
    gradient = torch.zeros_like(text)
    content = slice(0, problem.text.content_length)
    gradient[:, content] = torch.sign(text.detach()[:, content] - problem.text.embedding[:, content])
    return gradient * problem.settings.text_weight


@dataclass
class Gradients:
    """Turns the losses of one iteration into the gradients that the optimisers step on.

    joint: one backward of motion + background for both. paper: the text sees the motion loss only. official: what
    the published code computes: the text sees the motion loss twice and the background once, its regulariser counts
    once per active pair, and the latent also sees the previous iteration's motion gradient.
    """

    problem: DragProblem
    _leftover: Tensor | None = None
    _scale: float = field(init=False)

    def __post_init__(self) -> None:
        # A mean-reduced loss underflows in half precision (4 % error unscaled, 0.3 % at 1000 in a simulation).
        self._scale = 1024.0 if self.problem.model.dtype == torch.float16 else 1.0

    def __call__(
        self, motion: Tensor, background: Tensor | None, x: Tensor, text: Tensor, active: int
    ) -> tuple[Tensor, Tensor | None]:
        """Gradients for `x` and, if text is optimised, for `text`.

        motion: 0-d motion loss; background: 0-d weighted background loss or None; active: number of supervised pairs.
        """
        settings = self.problem.settings
        if not settings.text:
            loss = motion if background is None else motion + background
            return self._grad(loss, (x,))[0], None
        regulariser = regulariser_gradient(text, self.problem)
        if settings.gradients == "joint":
            loss = motion if background is None else motion + background
            x_gradient, text_gradient = self._grad(loss, (x, text))
            return x_gradient, text_gradient + regulariser
        motion_x, motion_text = self._grad(motion, (x, text), keep=background is not None)
        if settings.gradients == "paper":
            x_gradient = motion_x if background is None else motion_x + self._grad(background, (x,))[0]
            return x_gradient, motion_text + regulariser
        x_gradient, text_gradient = motion_x, 2 * motion_text
        if background is not None:
            background_x, background_text = self._grad(background, (x, text))
            x_gradient, text_gradient = x_gradient + background_x, text_gradient + background_text
        if self._leftover is not None:
            x_gradient = x_gradient + self._leftover
        self._leftover = motion_x
        return x_gradient, text_gradient + active * regulariser

    def _grad(self, loss: Tensor, inputs: tuple[Tensor, ...], keep: bool = False) -> tuple[Tensor, ...]:
        if self._scale == 1.0:
            return torch.autograd.grad(loss, inputs, retain_graph=keep)
        while True:
            gradients = torch.autograd.grad(loss * self._scale, inputs, retain_graph=True)
            finite = all(bool(g.isfinite().all()) for g in gradients)
            if finite or self._scale <= 1.0:
                return tuple(g / self._scale for g in gradients)
            self._scale /= 2
