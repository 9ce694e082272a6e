"""Point tracking by nearest feature (DragDiffusion eq. 4; ALGORITHMS section 2)."""

from __future__ import annotations

import torch
from torch import Tensor

from .features import FeatureMap, on_grid

GROUP = 8  # points that are looked for at once: more of the widest windows would fill the memory


@torch.no_grad()
def handle_features(features: FeatureMap, handles: Tensor) -> Tensor:
    """Feature vectors (n, C) at whole grid positions `handles` (n, 2): what the tracker looks for."""
    return features.windows(handles.floor().long(), 0)[:, :, 0, 0]


@torch.no_grad()
def track(features: FeatureMap, templates: Tensor, handles: Tensor, radius: int) -> Tensor:
    """Move each handle to the position around it whose feature is L1-nearest to its template.

    templates: (n, C) from `handle_features`; handles: (n, 2) grid (row, col); radius: half width of the search
    window, cropped at the borders. The first minimum in row-major order wins. Returns new (n, 2) positions.
    """
    pairs = zip(templates.split(GROUP), handles.floor().long().split(GROUP))
    return torch.cat([_nearest(features, *pair, radius) for pair in pairs]).to(handles.dtype)


def _nearest(features: FeatureMap, templates: Tensor, centres: Tensor, radius: int) -> Tensor:
    """(n, 2), the same for whole centres, all at once."""
    distance = (features.windows(centres, radius) - templates[:, :, None, None]).abs().sum(dim=1)
    outside = ~on_grid(centres, radius, features.grid)
    best = distance.masked_fill(outside, torch.inf).flatten(1).argmin(dim=1)  # (n,)
    side = 2 * radius + 1
    return centres - radius + torch.stack([torch.div(best, side, rounding_mode="floor"), best % side], dim=1)


def distances(handles: Tensor, targets: Tensor) -> Tensor:
    """(n,) Euclidean distances in grid pixels."""
    return torch.linalg.vector_norm(targets - handles, dim=1)
