"""Starts that move cells of the inverted latent: no second encoding (FastDrag, GeoDrag; ALGORITHMS 12).

A cell is 8 pixels, so what moves is rounded to that; see `start.py` for pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor

from ..picture.frame import LATENT_FACTOR
from .deform import Kind, fetch_map

_TOUCHED = 0.15  # a cell belongs to a region that covers so much of it
_ROOM = 4  # a region is grown by so many pixels first: its outline is half background


def move_cells(latent: Tensor, moves: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray, Kind]], seed: int) -> Tensor:
    """The latent with the cells of regions moved as one; what they leave is filled with cells of the ground.

    latent: (1, c, h, w); moves: region (8h, 8w) bool, handles and targets (n, 2) (x, y) pixels, and the transform.
    """
    height, width = latent.shape[2:]
    covered = [_cells(region, height, width) for region, *_ in moves]
    result = _fill_with_ground(latent, np.any(covered, axis=0), np.any(covered, axis=0), seed)
    for cells, (_, handles, targets, kind) in zip(covered, moves):
        here, there = _in_cells(handles), _in_cells(targets)
        places = np.rint(fetch_map((0, 0, height, width), here, there, kind)).astype(int)
        cols, rows = places[..., 0], places[..., 1]
        inside = (cols >= 0) & (cols < width) & (rows >= 0) & (rows < height)
        taken = inside & cells[np.clip(rows, 0, height - 1), np.clip(cols, 0, width - 1)]
        result[0][:, torch.from_numpy(taken)] = latent[0][:, rows[taken], cols[taken]]
    return result


def move_field(latent: Tensor, mask: np.ndarray, handles: np.ndarray, targets: np.ndarray, seed: int) -> Tensor:
    """GeoDrag's field without depth: every cell of the mask follows its nearest handle, less the farther it is.

    latent: (1, c, h, w); mask: (8h, 8w) bool; handles, targets: (n, 2) (x, y) pixels. Displacements fall from all of
    the drag at the handle to nothing at the distance L = max(R, R + sign(cos) |O - h|) of ALGORITHMS 12. The cells
    nearest to their handles are written first and keep their places; empty ones get cells of the ground.
    """
    height, width = latent.shape[2:]
    editable = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA) > 0.5
    rows, cols = np.nonzero(editable)
    if not len(rows):
        return latent.clone()
    here, there = _in_cells(handles), _in_cells(targets)
    cells = np.stack([cols, rows], 1).astype(np.float64)
    centre = np.array([cols.min() + cols.max(), rows.min() + rows.max()]) / 2
    radius = max(1.0, np.hypot(cols.max() - cols.min(), rows.max() - rows.min()) / 2)
    away = np.linalg.norm(cells[:, None] - here[None], axis=2)
    nearest = away.argmin(1)
    distance = away[np.arange(len(cells)), nearest]
    toward = centre - here[nearest]
    sign = np.sign(((cells - here[nearest]) * toward).sum(1))
    length = np.maximum(radius, radius + sign * np.linalg.norm(toward, axis=1))
    share = np.clip(1 - distance / np.maximum(length, 1e-6), 0, 1)
    ends = np.rint(cells + share[:, None] * (there - here)[nearest]).astype(int)
    ends = np.clip(ends, 0, (width - 1, height - 1))
    filled = ~editable
    result = latent.clone()
    for index in np.argsort(distance, kind="stable"):
        col, row = ends[index]
        if not filled[row, col]:
            result[0, :, row, col] = latent[0, :, rows[index], cols[index]]
            filled[row, col] = True
    return _fill_with_ground(result, ~filled, editable, seed)


def fresh_noise(latent: Tensor, revealed: np.ndarray, share: float, alpha_bar: float, seed: int) -> Tensor:
    """The latent with `share` of the noise drawn anew in the cells that a start reveals.

    latent: (1, c, h, w) at a level of cumulative alpha `alpha_bar`; revealed: (8h, 8w) bool. The variance stays.
    """
    height, width = latent.shape[2:]
    cells = torch.from_numpy(_cells(revealed, height, width)).to(latent.device)
    noise = torch.randn(latent.shape, generator=torch.Generator().manual_seed(seed)).to(latent)
    noise = noise * (1 - alpha_bar) ** 0.5
    mixed = latent * (1 - share) + noise * (1 - (1 - share) ** 2) ** 0.5
    return torch.where(cells[None, None], mixed, latent)


def _in_cells(points: np.ndarray) -> np.ndarray:
    """(n, 2) pixels of the model's picture in cells, whose centres lie on whole numbers."""
    return (points - (LATENT_FACTOR - 1) / 2) / LATENT_FACTOR


def _cells(region: np.ndarray, height: int, width: int) -> np.ndarray:
    """(h, w) bool: the cells that a region of pixels touches enough to belong to it."""
    brush = np.ones((2 * _ROOM + 1, 2 * _ROOM + 1), np.uint8)
    grown = cv2.dilate(region.astype(np.uint8), brush).astype(np.float32)
    return cv2.resize(grown, (width, height), interpolation=cv2.INTER_AREA) > _TOUCHED


def _fill_with_ground(latent: Tensor, empty: np.ndarray, avoid: np.ndarray, seed: int) -> Tensor:
    """Each empty cell becomes some cell of the surroundings, at random: the same statistics, and no structure."""
    apart = cv2.dilate(avoid.astype(np.uint8), np.ones((3, 3), np.uint8)) == 0
    rows, cols = np.nonzero(apart if apart.any() else ~empty)
    result = latent.clone()
    if len(rows) and empty.any():
        picked = np.random.default_rng(seed).integers(0, len(rows), int(empty.sum()))
        result[0][:, torch.from_numpy(empty)] = latent[0][:, rows[picked], cols[picked]]
    return result
