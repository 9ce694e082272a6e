"""Reading a decoder feature map at feature-grid positions without enlarging the whole map.

The published code resizes the map bilinearly to half the image's size and slices windows out of it. Here a window's
samples are taken from the source positions that they depend on: the same numbers for a thousandth of the work
(ALGORITHMS section 8, point 4). Where the windows are is a tensor on the map's device, and all windows of a call have
one size, so that nothing here waits for the device.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from ..model.transfer import number_type


def to_places(positions: np.ndarray, device: torch.device) -> Tensor:
    """Grid (row, col) positions (n, 2) as a tensor; to be called before a loop, since it waits for the device."""
    return torch.from_numpy(np.asarray(positions, np.float64)).to(number_type(device)).to(device)


@lru_cache(maxsize=16)
def _axis(grid: int, native: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """For each whole position of a grid's axis the two source positions (grid, 2), and the second one's share (grid,).

    Bilinear resize with align_corners=False: pixel centres, clamped at the first one.
    """
    source = np.maximum((np.arange(grid) + 0.5) * native / grid - 0.5, 0)
    low = np.minimum(np.floor(source).astype(np.int64), native - 1)
    high = np.minimum(low + 1, native - 1)
    share = np.where(low == high, 0, source - low).astype(np.float32)
    # In inference mode the result could not be kept for a later backward pass.
    with torch.inference_mode(False):
        return torch.from_numpy(np.stack([low, high], 1)).to(device), torch.from_numpy(share).to(device)


@dataclass(frozen=True)
class FeatureMap:
    """A native feature map (1, C, h, w) seen on the feature grid of `grid` (rows, cols) positions."""

    native: Tensor
    grid: tuple[int, int]

    def windows(self, centres: Tensor, radius: int) -> Tensor:
        """Samples (n, C, 2r+1, 2r+1) float32 around whole grid (row, col) `centres` (n, 2), integers on the device.

        Beyond a border it repeats. Equal places give equal numbers to the last bit, which the tracker relies on.
        """
        return self._read(*around(centres, radius))

    def between(self, centres: Tensor, radius: int) -> Tensor:
        """The same around fractional centres: bilinear between whole positions, as the published code has it."""
        base = centres.floor()
        down, right = (centres - base).float()[:, :, None, None, None].unbind(1)
        whole = self._read(*around(base.long(), radius, beyond=1))  # (n, C, 2r+2, 2r+2)
        whole = (1 - down) * whole[:, :, :-1] + down * whole[:, :, 1:]
        return (1 - right) * whole[..., :-1] + right * whole[..., 1:]

    def _read(self, rows: Tensor, cols: Tensor) -> Tensor:
        """(n, C, k, l) at whole positions: rows (n, k), cols (n, l)."""
        native = self.native[0].float()  # (C, h, w)
        places, shares = [], []
        for positions, grid, size in zip((rows, cols), self.grid, native.shape[1:]):
            sources, share = _axis(grid, size, native.device)
            positions = positions.clamp(0, grid - 1)
            places.append(sources[positions])  # (n, k, 2)
            shares.append(share[positions])
        (count, tall), wide = rows.shape, cols.shape[1]
        read = native[:, places[0].view(count, -1, 1), places[1].view(count, 1, -1)]  # (C, n, 2k, 2l)
        upper, lower = read.view(-1, count, tall, 2, 2 * wide).unbind(3)
        down, right = shares[0][:, :, None], shares[1][:, None, :]
        left, other = ((1 - down) * upper + down * lower).view(-1, count, tall, wide, 2).unbind(4)
        return ((1 - right) * left + right * other).transpose(0, 1)


def around(centres: Tensor, radius: int, beyond: int = 0) -> tuple[Tensor, Tensor]:
    """Rows and columns, each (n, 2r+1), of the windows around whole (n, 2) centres; `beyond` more at the end."""
    offsets = torch.arange(-radius, radius + 1 + beyond, device=centres.device)
    return centres[:, :1] + offsets, centres[:, 1:] + offsets


def on_grid(centres: Tensor, radius: int, grid: tuple[int, int]) -> Tensor:
    """(n, 2r+1, 2r+1) bool, which positions of the windows around whole centres are on the grid."""
    rows, cols = around(centres, radius)
    return ((rows >= 0) & (rows < grid[0]))[:, :, None] & ((cols >= 0) & (cols < grid[1]))[:, None, :]
