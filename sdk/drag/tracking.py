"""Point tracking by nearest feature (DragDiffusion eq. 4; ALGORITHMS section 2)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .features import FeatureMap, window_positions


def handle_features(features: FeatureMap, handles: np.ndarray) -> Tensor:
    """Feature vectors (n, C) at whole grid positions `handles` (n, 2): what the tracker looks for."""
    vectors = [features.window(handle[:1], handle[1:])[:, 0, 0] for handle in handles]
    return torch.stack(vectors)


def track(features: FeatureMap, templates: Tensor, handles: np.ndarray, radius: int) -> np.ndarray:
    """Move each handle to the position around it whose feature is L1-nearest to its template.

    templates: (n, C) from `handle_features`; handles: (n, 2) grid (row, col); radius: half width of the search
    window, cropped at the borders. The first minimum in row-major order wins. Returns new (n, 2) positions.
    """
    windows, best = [], []
    for template, handle in zip(templates, handles):
        rows = window_positions(handle[0], radius, features.grid[0])
        cols = window_positions(handle[1], radius, features.grid[1])
        distance = (features.window(rows, cols) - template[:, None, None]).abs().sum(dim=0)
        windows.append((rows, cols))
        best.append(distance.flatten().argmin())
    found = torch.stack(best).tolist()  # one wait for the device, however many points
    return np.array(
        [(rows[i // len(cols)], cols[i % len(cols)]) for i, (rows, cols) in zip(found, windows)],
        dtype=np.float64,
    )


def distances(handles: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """(n,) Euclidean distances in grid pixels."""
    return np.linalg.norm(targets - handles, axis=1)
