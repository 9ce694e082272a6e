"""Muon (Jordan et al., 2024): momentum whose every update is made nearly orthogonal, for matrices and convolutions.

torch's own takes matrices only, one by one. The step is scaled to the size of AdamW's, so that both share a learning
rate (Liu et al., 2025, arXiv 2502.16982).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor, nn


def orthogonal(matrices: Tensor, steps: int = 5) -> Tensor:
    """The nearest orthogonal matrices, roughly: singular values of (k, m, n) come out between 0.7 and 1.2.

    Newton-Schulz iteration with the published quintic's coefficients, on a GPU in bfloat16. (The same recurrence on
    the Gram matrices alone is cheaper for long ones, and gives NaN in bfloat16.)
    """
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / (x.flatten(1).norm(dim=1)[:, None, None] + 1e-7)
    x = x.bfloat16() if x.is_cuda else x
    for _ in range(steps):
        gram = x @ x.mT
        x = 3.4445 * x + (-4.775 * gram + 2.0315 * (gram @ gram)) @ x
    return (x.mT if tall else x).float()


class Muon(torch.optim.Optimizer):
    """For parameters of two or more dimensions; (out, in, h, w) counts as a matrix (out, in * h * w).

    Matrices of one shape go together: on a GPU the launches cost more than the products.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float, momentum: float = 0.95) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum})
        self._shapes: dict[tuple[int, int], list[nn.Parameter]] = defaultdict(list)
        for parameter in self.param_groups[0]["params"]:
            self._shapes[(parameter.shape[0], parameter[0].numel())].append(parameter)
        for shape, group in self._shapes.items():
            # Kept with the first of them, so that a checkpoint of the optimiser holds it.
            average = torch.zeros(len(group), *shape, device=group[0].device)
            self.state[group[0]]["average"] = average

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        group = self.param_groups[0]
        for shape, parameters in self._shapes.items():
            gradients = torch.stack([parameter.grad.reshape(shape) for parameter in parameters])
            average = self.state[parameters[0]]["average"].lerp_(gradients, 1 - group["momentum"])
            update = orthogonal(gradients.lerp(average, group["momentum"])) * (0.2 * max(shape) ** 0.5 * -group["lr"])
            torch._foreach_add_(parameters, [one.view_as(p) for one, p in zip(update, parameters)])


_OUTERMOST = frozenset(
    f"{name}.weight" for name in ("encoder.conv_in", "decoder.conv_out", "unet.conv_in", "unet.conv_out")
)


def make_optimisers(network: nn.Module, lr: float, others: float) -> list[torch.optim.Optimizer]:
    """Muon for the inner matrices; AdamW with a rate of `others` for vectors, embeddings and the outermost layers.

    What is frozen stays as it is.
    """
    inner, rest = [], []
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        plain = parameter.ndim < 2 or "embed" in name or name in _OUTERMOST
        (rest if plain else inner).append(parameter)
    fused = next(network.parameters()).is_cuda
    return [Muon(inner, lr), torch.optim.AdamW(rest, others, betas=(0.9, 0.99), weight_decay=0.0, fused=fused)]
