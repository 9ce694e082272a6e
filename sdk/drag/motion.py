"""Motion supervision and the background term (DragDiffusion eq. 3, GoodDrag eq. 5; ALGORITHMS sections 2 and 5)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .features import FeatureMap, window_offsets


def motion_loss(
    features: FeatureMap,
    handles: np.ndarray,
    targets: np.ndarray,
    active: np.ndarray,
    radius: int,
    *,
    displacement: float = 1.0,
    factor: float | None = None,
    original: tuple[FeatureMap, np.ndarray] | None = None,
) -> Tensor:
    """Pull a feature patch towards its target: `factor * mean |sg[F(p)] - F(p + d)|`, summed over the active pairs.

    handles, targets: (n, 2) whole grid (row, col); active: (n,) bool; radius: r, of windows of (2r+1)^2 positions.
    displacement: length of d in grid pixels, at most the distance left.
    factor: (2r+1)^2 by default; GoodDrag counts (2r)^2.
    original: feature map and (n, 2) handles from before any update: then the patch to be moved is read there
        (GoodDrag's information-preserving supervision), else from `features` itself without gradient.
    A window cropped at a border is cropped in both patches alike and keeps its factor; the displaced samples beyond
    a border repeat it. Returns a 0-d float32 tensor.
    """
    if not active.any():
        raise ValueError("motion_loss needs at least one active pair")
    source, anchors = original or (FeatureMap(features.native.detach(), features.grid), handles)
    factor = float((2 * radius + 1) ** 2) if factor is None else factor
    total = features.native.new_zeros((), dtype=torch.float32)
    for handle, target, anchor in zip(handles[active], targets[active], anchors[active]):
        distance = float(np.linalg.norm(target - handle))
        ahead = (target - handle) / distance * min(displacement, distance)
        rows = window_offsets((handle[0], anchor[0]), radius, features.grid[0])
        cols = window_offsets((handle[1], anchor[1]), radius, features.grid[1])
        wanted = source.window(np.floor(anchor[0]) + rows, np.floor(anchor[1]) + cols)
        moved = features.window(np.floor(handle[0]) + ahead[0] + rows, np.floor(handle[1]) + ahead[1] + cols)
        total = total + factor * (wanted - moved).abs().mean()
    return total


def background_loss(previous: Tensor, previous_start: Tensor, mask: Tensor) -> Tensor:
    """Sum of |x_prev - x_prev^0| where the latent mask (1, 1, h, w) is 0 (DragDiffusion eq. 3, second term)."""
    return ((previous - previous_start) * (1 - mask)).abs().sum()
