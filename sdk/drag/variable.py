"""A tensor under optimisation and its Adam."""

from __future__ import annotations

import torch
from torch import Tensor


class Variable:
    """A float32 leaf with an Adam optimiser of its own (betas 0.9 and 0.999, eps 1e-8), or a constant.

    start: first value, copied. lr: step size; None makes it a constant, for which `step` does nothing.
    """

    def __init__(self, start: Tensor, lr: float | None) -> None:
        self.leaf = start.detach().clone().requires_grad_(lr is not None)
        self._optimiser = None if lr is None else torch.optim.Adam([self.leaf], lr=lr)

    def in_graph(self) -> Tensor:
        """The value for a forward pass. A copy, since the graph keeps views of it and `step` changes it in place."""
        return self.leaf.clone() if self.leaf.requires_grad else self.leaf

    def step(self, gradient: Tensor | None) -> None:
        """One Adam step along `gradient`."""
        if self._optimiser is not None:
            self.leaf.grad = gradient
            self._optimiser.step()
            self.leaf.grad = None

    def snapshot(self) -> Tensor:
        """A detached copy of the value."""
        return self.leaf.detach().clone()
