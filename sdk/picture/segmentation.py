"""What moves: found from the handles, and the mask that follows from it."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from ..request import Drag, Point

WORKING_SIDE = 256  # a region is looked for on a copy reduced to this, pixels
SURE, PROBABLE = 4.0, 14.0  # radii around a handle, pixels at the working side
ROUNDS = 5
MARGIN = 12  # around region, path and target, pixels at the working side
_LEAST, _MOST = 60, 0.95  # a region of fewer pixels, or one that covers more of the mask, is none
_BRIDGE = 5  # what is thinner than so many pixels does not connect: a part is not its body for a shared outline
_RING = 7  # width of the ring around the mask that tells what the ground is, pixels
_PLAIN, _GROUND = 0.97, 60.0  # share of the ring that must be ground, and summed RGB difference that is ground still


def find_region(picture: np.ndarray, handles: Sequence[Point], mask: np.ndarray | None = None) -> np.ndarray | None:
    """What the handles lie on, by GrabCut (Rother, Kolmogorov and Blake, 2004).

    Where the mask runs all through plain ground, what stands out from that ground belongs to it, too: GrabCut alone
    leaves out what has colours of its own, as dark wheels or a white sail.

    picture: (H, W, 3) uint8 RGB; handles: (x, y) pixels; mask: (H, W) bool, inside which to look, or None. Returns
    (H, W) bool, or None where nothing can be told from its surroundings.
    """
    height, width = picture.shape[:2]
    scale = min(1.0, WORKING_SIDE / max(height, width))
    small = _shrink(picture, scale)
    points = [(min(int(x * scale), small.shape[1] - 1), min(int(y * scale), small.shape[0] - 1)) for x, y in handles]
    labels = np.full(small.shape[:2], cv2.GC_PR_BGD, np.uint8)
    inside = np.ones(small.shape[:2], bool)
    if mask is not None:
        inside = _shrink(mask.astype(np.uint8) * 255, scale) > 127
        labels[~inside] = cv2.GC_BGD
    for radius, label in ((PROBABLE, cv2.GC_PR_FGD), (SURE, cv2.GC_FGD)):
        for point in points:
            cv2.circle(labels, point, round(radius), label, -1)
    labels[~inside] = cv2.GC_BGD
    if not np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD)).any() or not np.isin(labels, (cv2.GC_BGD, cv2.GC_PR_BGD)).any():
        return None
    found = _grab(small, labels)
    outstanding = _standing_out(small, inside)
    # Where the mask's border runs through more than plain ground, it cuts a part off its body.
    found = _solid(found | outstanding) if outstanding.any() else _without_bridges(_solid(found))
    found = _touched(found, points)
    if found.sum() < _LEAST or found.sum() > _MOST * inside.sum():
        return None
    if scale < 1:
        enlarged = cv2.resize(found.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
        found = enlarged > 0.5
    return found


def mask_around(region: np.ndarray, drags: Sequence[Drag]) -> np.ndarray:
    """What may change where only what moves is given: the region, its way along every drag, its target, a margin.

    region: (H, W) bool. Returns (H, W) bool.
    """
    height, width = region.shape
    scale = min(1.0, WORKING_SIDE / max(height, width))
    small = _shrink(region.astype(np.uint8) * 255, scale) > 127
    swept = small.copy()
    rows, cols = small.shape
    for drag in drags:
        way = (np.array(drag.target) - drag.source) * scale
        for share in np.linspace(0, 1, max(2, int(np.hypot(*way) / 4) + 1)):
            shift = np.array([[1, 0, share * way[0]], [0, 1, share * way[1]]], np.float32)
            swept |= cv2.warpAffine(small.astype(np.uint8), shift, (cols, rows), flags=cv2.INTER_NEAREST) > 0
    brush = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * MARGIN + 1, 2 * MARGIN + 1))
    swept = cv2.dilate(swept.astype(np.uint8), brush)
    return cv2.resize(swept, (width, height), interpolation=cv2.INTER_NEAREST) > 0


def _grab(picture: np.ndarray, labels: np.ndarray) -> np.ndarray:
    background, foreground = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.setRNGSeed(0)  # its colour models begin at random: equal pictures must give equal regions
    nowhere = (0, 0, 0, 0)  # a rectangle, which only another mode would read
    cv2.grabCut(picture, labels, nowhere, background, foreground, ROUNDS, cv2.GC_INIT_WITH_MASK)
    return np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))


def _standing_out(picture: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """What in the mask differs from the ground around it; nothing where what lies around is no plain ground."""
    wide = cv2.dilate(inside.astype(np.uint8), np.ones((2 * _RING + 1, 2 * _RING + 1), np.uint8)) > 0
    ring = wide & ~inside
    if not ring.any():
        return ring
    differs = np.abs(picture.astype(np.float32) - np.median(picture[ring], axis=0)).sum(2) > _GROUND
    return differs & inside if differs[ring].mean() < 1 - _PLAIN else np.zeros_like(inside)


def _solid(region: np.ndarray) -> np.ndarray:
    """Without specks and holes: an eye as white as the wall behind a cat belongs to the cat."""
    closed = cv2.morphologyEx(region.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    outlines, _ = cv2.findContours(closed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = np.zeros_like(closed)
    cv2.drawContours(filled, outlines, -1, 1, -1)
    return filled > 0


def _without_bridges(region: np.ndarray) -> np.ndarray:
    brush = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (_BRIDGE, _BRIDGE))
    return cv2.morphologyEx(region.astype(np.uint8), cv2.MORPH_OPEN, brush) > 0


def _touched(region: np.ndarray, points: Sequence[tuple[int, int]]) -> np.ndarray:
    """The connected pieces that a handle lies on."""
    _, labels = cv2.connectedComponents(region.astype(np.uint8))
    wanted = {int(labels[y, x]) for x, y in points} - {0}
    return np.isin(labels, list(wanted))


def _shrink(picture: np.ndarray, scale: float) -> np.ndarray:
    if scale == 1:
        return picture
    size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
