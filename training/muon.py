"""Muon (Jordan et al., 2024): momentum whose every update is made nearly orthogonal, for matrices and convolutions.

torch's own takes matrices only. The step is scaled to the size of AdamW's, so that both share a learning rate
(Liu et al., 2025, arXiv 2502.16982).
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


def orthogonal(matrix: Tensor, steps: int = 5) -> Tensor:
    """The nearest orthogonal matrix, roughly: singular values of (m, n) `matrix` come out between 0.7 and 1.2.

    Newton-Schulz iteration with the published quintic's coefficients. It runs on the small square Gram matrix: the
    factors commute, so their product is applied to the long side once, at the end.
    """
    wide = matrix.shape[0] <= matrix.shape[1]
    x = matrix / (matrix.norm() + 1e-7)
    gram = x @ x.T if wide else x.T @ x
    total = identity = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    for _ in range(steps):
        factor = torch.addmm(3.4445 * identity - 4.775 * gram, gram, gram, alpha=2.0315)
        total, gram = factor @ total, factor @ gram @ factor
    return total @ x if wide else x @ total


class Muon(torch.optim.Optimizer):
    """For parameters of two or more dimensions; (out, in, h, w) counts as a matrix (out, in * h * w)."""

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float, momentum: float = 0.95) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["average"] = torch.zeros_like(parameter)
                state["average"].lerp_(parameter.grad, 1 - group["momentum"])
                update = parameter.grad.lerp(state["average"], group["momentum"]).flatten(1)
                update = orthogonal(update) * 0.2 * max(update.shape) ** 0.5
                parameter.add_(update.view_as(parameter), alpha=-group["lr"])


_OUTERMOST = frozenset(
    f"{name}.weight" for name in ("encoder.conv_in", "decoder.conv_out", "unet.conv_in", "unet.conv_out")
)


def make_optimisers(network: nn.Module, lr: float, others: float) -> list[torch.optim.Optimizer]:
    """Muon for the inner matrices; AdamW with a rate of `others` for vectors, embeddings and the outermost layers."""
    inner, rest = [], []
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            plain = parameter.ndim < 2 or "embed" in name or name in _OUTERMOST
            (rest if plain else inner).append(parameter)
    return [Muon(inner, lr), torch.optim.AdamW(rest, others, betas=(0.9, 0.99), weight_decay=0.0, fused=True)]
