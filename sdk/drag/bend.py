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
_NECK = 0.25  # share of the way from the root to the handle that bends; beyond it a part keeps its shape
_OUTLINE = 1.0  # pixels beyond the root where that begins, so that a body's outline is not drawn out with it
_SAME = 0.01  # pixels that two equal distances may differ by
_SCANNED, _HALVED = 17, 5  # steps in which the share of the way is looked for


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
    box: Box, region: np.ndarray, root: np.ndarray, handles: np.ndarray, targets: np.ndarray, kind: Kind
) -> tuple[np.ndarray, np.ndarray]:
    """For every pixel of a box the (x, y) of the original that lands there, where the root stays.

    From the root on the displacement grows from nothing to all of it, on the first quarter of the way to the handle: a
    neck. Beyond, the region moves as one. What is moved into its body goes behind it. box: (top, left, bottom, right);
    region, root: (H, W) bool. Returns (h, w, 2) float32, and (h, w) bool: where it can be seen.
    """
    top, left, bottom, right = box
    here = np.stack(np.meshgrid(np.arange(left, right), np.arange(top, bottom)), -1).astype(np.float32)
    away = _distance_to(root)
    rows, cols = (np.clip(np.rint(handles[:, k]).astype(int), 0, root.shape[1 - k] - 1) for k in (1, 0))
    reach = max(2.0, _NECK * float(away[rows, cols].min()))
    behind = _behind(region, root)
    # 0 where the neck begins, 1 where all moves, negative on the body.
    level = (np.where(behind, -away, away) - _OUTLINE) / reach
    way = here - fetch_map(box, handles, targets, kind)
    # What lands at a place has gone the share of the way that its own level says. The largest such share is looked for
    # from all of it downwards, and then halved into place.
    found = np.zeros(here.shape[:2], np.float32)
    above = np.ones_like(found)
    open_ = np.ones(here.shape[:2], bool)
    for share in np.linspace(1, 0, _SCANNED, dtype=np.float32):
        fits = open_ & (_sampled(level, here - share * way) >= share)
        found[fits] = share
        open_ &= ~fits
        above[open_] = share
    for _ in range(_HALVED):
        middle = (found + above) / 2
        fits = _sampled(level, here - middle[..., None] * way) >= middle
        found, above = np.where(fits, middle, found), np.where(fits, above, middle)
    return here - found[..., None] * way, ~behind[top:bottom, left:right]


def grown(region: np.ndarray, by: int) -> np.ndarray:
    """(H, W) bool, reaching so many pixels farther."""
    result = np.zeros(region.shape, bool)
    rows, cols = np.flatnonzero(region.any(1)), np.flatnonzero(region.any(0))
    if len(rows):  # only there: a wide brush takes long on a large picture
        here = tuple(slice(max(side[0] - by, 0), side[-1] + by + 1) for side in (rows, cols))
        brush = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * by + 1, 2 * by + 1))
        result[here] = cv2.dilate(region[here].astype(np.uint8), brush) > 0
    return result


def _behind(region: np.ndarray, root: np.ndarray) -> np.ndarray:
    """(H, W) bool: the body's side of the root, where of all the region's pixels one of the root is the nearest."""
    hung = region & root
    return ~region & (_distance_to(hung) <= _distance_to(region) + _SAME) if hung.any() else np.zeros_like(region)


def _distance_to(where: np.ndarray) -> np.ndarray:
    """(H, W) float32 pixels to the nearest that is true."""
    return cv2.distanceTransform((~where).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)


def _sampled(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    across, down = np.ascontiguousarray(places[..., 0]), np.ascontiguousarray(places[..., 1])
    return cv2.remap(values, across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _palette(pixels: np.ndarray) -> np.ndarray:
    """(k, 3) float32: the colours that (n, 3) pixels mostly have."""
    some = pixels[:: -(-len(pixels) // _SAMPLES)].astype(np.float32)
    cv2.setRNGSeed(0)  # equal pictures must give equal roots
    criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 10, 1.0)
    count = min(_COLOURS, len(some))
    _, _, colours = cv2.kmeans(some, count, None, criteria, 1, cv2.KMEANS_PP_CENTERS)  # type: ignore[call-overload]
    return colours
