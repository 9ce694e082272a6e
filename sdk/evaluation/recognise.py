"""Which figure in which colour a picture shows, matched against drawings of all of them: never asks a network."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import numpy as np

from .drawing import draw_toy
from .figures import COLOURS, FIGURES
from .scenes import Toy, draw_pose, draw_shifts

SIDE = 24  # toys are compared at this size, fitted into a square
POSES = 40  # drawings of each figure, at random poses of the world's range
_DIFFERENT = 60.0  # summed RGB difference from the ground that counts as a toy
_SMALLEST = 300  # pixels; anything smaller is no toy
_CANVAS, _RADIUS = 76, 24.0  # pixels
_PLAIN = 128.0  # what lies around a toy in the comparison


@dataclass(frozen=True)
class Drawings:
    """What pictures are matched against. patches: (n, 3 SIDE^2) float32; names: n pairs of colour and figure."""

    patches: np.ndarray
    names: tuple[tuple[str, str], ...]


def recognise(image: np.ndarray) -> tuple[str, str] | None:
    """(colour, figure) of the largest toy of an (S, S, 3) uint8 RGB picture on plain ground, None without one."""
    seen = _largest(image)
    if seen is None:
        return None
    patch = _fitted(image.astype(np.float32), seen)
    drawings = all_drawings()
    return drawings.names[int(np.abs(drawings.patches - patch).sum(1).argmin())]


@lru_cache(maxsize=1)
def all_drawings() -> Drawings:
    """Every figure in every colour, at POSES poses; takes a few seconds once."""
    rng = np.random.default_rng(0)
    patches, names = [], []
    for figure in FIGURES:
        for _ in range(POSES):
            toy = Toy(
                figure,
                "red",
                "small",
                (_CANVAS / 2, _CANVAS / 2),
                radius=_RADIUS,
                shifts=draw_shifts(rng),
                **draw_pose(rng),
            )
            for colour in COLOURS:
                canvas = np.full((_CANVAS, _CANVAS, 3), _PLAIN, np.float32)
                mask = draw_toy(canvas, replace(toy, colour=colour))
                patches.append(_fitted(canvas, mask))
                names.append((colour, figure))
    return Drawings(np.stack(patches), tuple(names))


def _largest(image: np.ndarray) -> np.ndarray | None:
    """(S, S) bool: the largest piece that differs from the ground, which the picture's border shows."""
    smooth = cv2.GaussianBlur(image, (3, 3), 0).astype(np.float32)
    border = np.concatenate([smooth[:6].reshape(-1, 3), smooth[-6:].reshape(-1, 3), smooth[:, :6].reshape(-1, 3)])
    differs = (np.abs(smooth - np.median(border, axis=0)).sum(2) > _DIFFERENT).astype(np.uint8)
    closed = cv2.morphologyEx(differs, cv2.MORPH_CLOSE, np.ones((17, 17), np.uint8))  # a duck's head may stand apart
    count, labels, facts, _ = cv2.connectedComponentsWithStats(closed)
    if count < 2:
        return None
    best = 1 + int(facts[1:, cv2.CC_STAT_AREA].argmax())
    if facts[best, cv2.CC_STAT_AREA] < _SMALLEST:
        return None
    return (labels == best) & (differs > 0)


def _fitted(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(3 SIDE^2,) float32: what the mask covers, its box made as large as the square; plain grey around it."""
    rows, cols = np.nonzero(mask)
    box = slice(rows.min(), rows.max() + 1), slice(cols.min(), cols.max() + 1)
    part = np.where(mask[box][..., None], image[box], _PLAIN).astype(np.float32)
    scale = SIDE / max(part.shape[:2])
    size = (max(1, round(part.shape[1] * scale)), max(1, round(part.shape[0] * scale)))
    small = cv2.resize(part, size, interpolation=cv2.INTER_AREA)
    fitted = np.full((SIDE, SIDE, 3), _PLAIN, np.float32)
    top, left = (SIDE - size[1]) // 2, (SIDE - size[0]) // 2
    fitted[top : top + size[1], left : left + size[0]] = small
    return fitted.ravel()
