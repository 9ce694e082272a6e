"""A tensor under optimisation and its Adam."""

from __future__ import annotations

import torch
from torch import Tensor

FIRST, SECOND, EPSILON = 0.9, 0.999, 1e-8  # Adam's betas and eps, as everywhere


class Variable:
    """A float32 leaf with an Adam of its own (Kingma and Ba 2015), or a constant.

    start: first value, copied. lr: step size; None makes it a constant, for which `step` does nothing. In full
    precision the numbers are those of `torch.optim.Adam`, which cannot leave out a step without asking the device.
    """

    def __init__(self, start: Tensor, lr: float | None) -> None:
        self.leaf = start.detach().clone().requires_grad_(lr is not None)
        self._lr = lr
        self._mean = self._square = None if lr is None else torch.zeros_like(start)
        self._steps: int | Tensor = 0

    def in_graph(self) -> Tensor:
        """The value for a forward pass. A copy, since the graph keeps views of it and `step` changes it in place."""
        return self.leaf.clone() if self.leaf.requires_grad else self.leaf

    @torch.no_grad()
    def step(self, gradient: Tensor | None, usable: Tensor | None = None) -> None:
        """One Adam step along `gradient`. usable: 0-d bool on the device, whether to make it; None makes it."""
        if self._lr is None or self._mean is None or self._square is None or gradient is None:
            return
        steps = self._steps + (1 if usable is None else usable.float())
        mean = torch.lerp(self._mean, gradient, 1 - FIRST)
        square = (self._square * SECOND).addcmul_(gradient, gradient, value=1 - SECOND)
        root = (square.sqrt() / (1 - SECOND**steps) ** 0.5).add_(EPSILON)
        rate = self._lr / (1 - FIRST**steps)
        if usable is None:
            assert isinstance(rate, float)
            self.leaf.addcdiv_(mean, root, value=-rate)
        else:
            moved = self.leaf - rate * (mean / root)
            self.leaf.copy_(torch.where(usable, moved, self.leaf))
            mean, square = torch.where(usable, mean, self._mean), torch.where(usable, square, self._square)
        self._mean, self._square, self._steps = mean, square, steps

    @torch.no_grad()
    def give(self, value: Tensor) -> None:
        """Another value; what Adam has learnt stays."""
        self.leaf.copy_(value)

    def snapshot(self) -> Tensor:
        """A detached copy of the value."""
        return self.leaf.detach().clone()
