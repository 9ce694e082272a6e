"""Parts that hang on a body: they bend between their root and their handle instead of tearing off."""

from __future__ import annotations

import cv2
import numpy as np

from .deform import Kind, fetch_map

Box = tuple[int, int, int, int]

_NEAR, _FAR = 2, 6  # the ring around a region that tells what it hangs on, pixels at 512 px of the picture's side
_LIKE, _GROUND = 45.0, 60.0  # summed RGB difference of colours that are the region's own, or the ground's
_LEAST, _MOST = 0.04, 0.6  # share of the ring that a body may take: less is chance, with more it is a spot on a body
_COLOURS, _SAMPLES = 4, 2000  # of a region's palette, and the pixels that it is made from
_ROUNDS = 30


def find_root(picture: np.ndarray, region: np.ndarray) -> np.ndarray | None:
    """Where a region hangs on a body: the part of its edge behind which something like itself goes on.

    On plain ground everything that is not ground is a body; elsewhere only what has the region's colours.
    picture: (H, W, 3) uint8 RGB; region: (H, W) bool. Returns (H, W) bool, or None where it stands alone.
    """
    unit = max(1, round(max(region.shape) / 512))
    ring = grown(region, _FAR * unit) & ~grown(region, _NEAR * unit)
    if not ring.any() or not region.any():
        return None
    around = picture[ring].astype(np.float32)
    own = np.abs(around[:, None] - _palette(picture[region])[None]).sum(2).min(1) < _LIKE
    ground = np.abs(around - np.median(around, axis=0)).sum(1) < _GROUND
    body = ~ground if ground.mean() > 0.5 else own & ~ground
    if not _LEAST < body.mean() < _MOST:
        return None
    attached = np.zeros(region.shape, np.uint8)
    attached[ring] = body
    attached = cv2.morphologyEx(attached, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) > 0
    inner = cv2.erode(region.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    root = grown(region, _NEAR * unit + 1) & ~inner & grown(attached, 3 * unit)
    return root if root.any() else None


def bent_map(
    box: Box, root: np.ndarray, handles: np.ndarray, targets: np.ndarray, kind: Kind
) -> tuple[np.ndarray, np.ndarray]:
    """For every pixel of a box the (x, y) of the original that lands there, where the root stays.

    Between the root and the nearest handle the displacement grows from nothing to all of it. box: (top, left, bottom,
    right); root: (H, W) bool. Returns (h, w, 2) float32, and (h, w) bool: where anything lands at all.
    """
    top, left, bottom, right = box
    here = np.stack(np.meshgrid(np.arange(left, right), np.arange(top, bottom)), -1).astype(np.float32)
    away = cv2.distanceTransform((~root).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    rows, cols = (np.clip(np.rint(handles[:, k]).astype(int), 0, root.shape[1 - k] - 1) for k in (1, 0))
    reach = max(2.0, float(away[rows, cols].min()))
    share = np.clip(away[top:bottom, left:right] / reach, 0, 1)
    # Targets and handles changed over: where every pixel of the original goes.
    ways = ((fetch_map(box, targets, handles, kind) - here) * share[..., None]).astype(np.float32)
    # Which pixel lands where is the inverse of that, found step by step: each as long as the map may at most stretch.
    step = 1 / (1 + float(np.abs(ways).max()) / reach)
    source = here.copy()
    for _ in range(_ROUNDS):
        source -= step * (source + _sampled(ways, source, box) - here)
    missed = np.abs(source + _sampled(ways, source, box) - here).max(axis=2)
    return source, missed < 1


def grown(region: np.ndarray, by: int) -> np.ndarray:
    """(H, W) bool, reaching so many pixels farther."""
    result = np.zeros(region.shape, bool)
    rows, cols = np.flatnonzero(region.any(1)), np.flatnonzero(region.any(0))
    if len(rows):  # only there: a wide brush takes long on a large picture
        here = tuple(slice(max(side[0] - by, 0), side[-1] + by + 1) for side in (rows, cols))
        brush = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * by + 1, 2 * by + 1))
        result[here] = cv2.dilate(region[here].astype(np.uint8), brush) > 0
    return result


def _sampled(ways: np.ndarray, places: np.ndarray, box: Box) -> np.ndarray:
    across, down = places[..., 0] - box[1], places[..., 1] - box[0]
    return cv2.remap(ways, across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _palette(pixels: np.ndarray) -> np.ndarray:
    """(k, 3) float32: the colours that (n, 3) pixels mostly have."""
    some = pixels[:: -(-len(pixels) // _SAMPLES)].astype(np.float32)
    cv2.setRNGSeed(0)  # equal pictures must give equal roots
    criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 10, 1.0)
    count = min(_COLOURS, len(some))
    _, _, colours = cv2.kmeans(some, count, None, criteria, 1, cv2.KMEANS_PP_CENTERS)  # type: ignore[call-overload]
    return colours
