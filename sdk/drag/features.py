"""Reading a decoder feature map at feature-grid positions without enlarging the whole map.

The published code resizes the map bilinearly to half the image's size and slices windows out of it. Both steps are
separable linear maps, so a window is `R @ F @ C.T` with small matrices over the few source rows and columns it needs:
the same numbers for a thousandth of the work (ALGORITHMS section 8, point 4).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


def _axis_weights(positions: np.ndarray, grid: int, native: int) -> tuple[int, np.ndarray]:
    """First source index, and (k, m) float32 weights over the m source indices that k grid positions need."""
    positions = np.clip(np.asarray(positions, dtype=np.float64), 0, grid - 1)
    base = np.floor(positions)
    fraction = positions - base
    rows = np.arange(len(positions))
    weights = np.zeros((len(positions), native))
    # Between two whole grid positions the enlarged map is interpolated once more.
    for whole, share in ((base, 1 - fraction), (np.minimum(base + 1, grid - 1), fraction)):
        # Bilinear resize with align_corners=False: pixel centres, clamped at the first one.
        source = np.maximum((whole + 0.5) * native / grid - 0.5, 0)
        low = np.minimum(np.floor(source).astype(int), native - 1)
        high = np.minimum(low + 1, native - 1)
        np.add.at(weights, (rows, low), share * (1 - (source - low)))
        np.add.at(weights, (rows, high), share * (source - low))
    used = np.flatnonzero(weights.any(axis=0))
    first, last = int(used[0]), int(used[-1]) + 1
    return first, weights[:, first:last].astype(np.float32)


@dataclass(frozen=True)
class FeatureMap:
    """A native feature map (1, C, h, w) seen on the feature grid of `grid` (rows, cols) positions."""

    native: Tensor
    grid: tuple[int, int]

    def window(self, rows: np.ndarray, cols: np.ndarray) -> Tensor:
        """Bilinear samples (C, len(rows), len(cols)) float32 at grid positions; beyond the border it repeats."""
        top, row_weights = _axis_weights(rows, self.grid[0], self.native.shape[2])
        left, col_weights = _axis_weights(cols, self.grid[1], self.native.shape[3])
        crop = self.native[0, :, top : top + row_weights.shape[1], left : left + col_weights.shape[1]].float()
        vertical = torch.from_numpy(row_weights).to(crop.device)
        horizontal = torch.from_numpy(col_weights).to(crop.device)
        return torch.einsum("kr,crs,ls->ckl", vertical, crop, horizontal)


def window_positions(centre: float, radius: int, size: int) -> np.ndarray:
    """Whole positions within `radius` of `floor(centre)`, cropped to [0, size)."""
    middle = int(np.floor(centre))
    return np.arange(max(0, middle - radius), min(size, middle + radius + 1))


def window_offsets(centres: Sequence[float], radius: int, size: int) -> np.ndarray:
    """Whole offsets within `radius` that stay in [0, size) around `floor` of every one of the centres."""
    low = min(int(np.floor(c)) for c in centres)
    high = max(int(np.floor(c)) for c in centres)
    return np.arange(max(-radius, -low), min(radius, size - 1 - high) + 1)
