"""Motion supervision and the background term (DragDiffusion eq. 3; ALGORITHMS section 2)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .features import FeatureMap, window_positions


def motion_loss(
    features: FeatureMap, handles: np.ndarray, targets: np.ndarray, active: np.ndarray, radius: int
) -> Tensor:
    """Pull the feature patch one grid pixel towards the target: (2r+1)^2 * mean |sg[F(p)] - F(p + d)| per pair.

    handles, targets: (n, 2) grid (row, col); active: (n,) bool, the pairs that are supervised; radius: r. Only the
    displaced patch carries gradient. A window cropped at the border keeps its factor; samples past the border repeat
    it.
    """
    if not active.any():
        raise ValueError("motion_loss needs at least one active pair")
    total = features.native.new_zeros((), dtype=torch.float32)
    for handle, target in zip(handles[active], targets[active]):
        direction = (target - handle) / np.linalg.norm(target - handle)
        rows = window_positions(handle[0], radius, features.grid[0])
        cols = window_positions(handle[1], radius, features.grid[1])
        here = FeatureMap(features.native.detach(), features.grid).window(rows, cols)
        ahead = features.window(rows + direction[0], cols + direction[1])
        total = total + (2 * radius + 1) ** 2 * (here - ahead).abs().mean()
    return total


def background_loss(previous: Tensor, previous_start: Tensor, mask: Tensor) -> Tensor:
    """Sum of |x_prev - x_prev^0| where the latent mask (1, 1, h, w) is 0 (DragDiffusion eq. 3, second term)."""
    return ((previous - previous_start) * (1 - mask)).abs().sum()
