"""Motion supervision and the background term (DragDiffusion eq. 3, GoodDrag eq. 5; ALGORITHMS sections 2 and 5)."""

from __future__ import annotations

import torch
from torch import Tensor

from .features import FeatureMap, on_grid


def motion_loss(
    features: FeatureMap,
    handles: Tensor,
    targets: Tensor,
    active: Tensor,
    radius: int,
    *,
    displacement: float = 1.0,
    factor: float | None = None,
    original: tuple[FeatureMap, Tensor] | None = None,
) -> Tensor:
    """Pull a feature patch towards its target: `factor * mean |sg[F(p)] - F(p + d)|`, summed over the active pairs.

    handles, targets: (n, 2) whole grid (row, col); active: (n,) bool; radius: r, of windows of (2r+1)^2 positions. All
        on the device of the features; without any active pair the loss is 0.
    displacement: length of d in grid pixels, at most the distance left.
    factor: (2r+1)^2 by default; GoodDrag counts (2r)^2.
    original: feature map and (n, 2) handles from before any update: then the patch to be moved is read there
        (GoodDrag's information-preserving supervision), else from `features` itself without gradient.
    A window cropped at a border is cropped in both patches alike and keeps its factor; the displaced samples beyond
    a border repeat it. Returns a 0-d float32 tensor.
    """
    source, anchors = original or (FeatureMap(features.native.detach(), features.grid), handles)
    factor = float((2 * radius + 1) ** 2) if factor is None else factor
    way = targets - handles
    distance = torch.linalg.vector_norm(way, dim=1, keepdim=True)
    ahead = way / distance.clamp(min=1e-6) * distance.clamp(max=displacement)
    base, anchor = handles.floor(), anchors.floor().long()
    wanted, moved = source.windows(anchor, radius), features.between(base + ahead, radius)
    kept = on_grid(base.long(), radius, features.grid) & on_grid(anchor, radius, features.grid)
    changes = ((wanted - moved).abs() * kept[:, None]).sum(dim=(1, 2, 3)) / (moved.shape[1] * kept.sum(dim=(1, 2)))
    return factor * (changes * active).sum()


def background_loss(previous: Tensor, previous_start: Tensor, mask: Tensor) -> Tensor:
    """Sum of |x_prev - x_prev^0| where the latent mask (1, 1, h, w) is 0 (DragDiffusion eq. 3, second term)."""
    return ((previous - previous_start) * (1 - mask)).abs().sum()
