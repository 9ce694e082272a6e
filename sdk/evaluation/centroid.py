"""Where an object really is, by colour segmentation: the judge of a drag, never the drag's own tracker."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .scenes import COLOURS, DragTask, object_mask

_HUE_TOLERANCE = 14  # of OpenCV's 180
_MIN_SATURATION = 70  # the backgrounds stay below


@dataclass(frozen=True)
class Movement:
    """How a drag went, measured on pixels.

    fraction: the centroid's displacement along the drag over the drag's length; 1 is all the way.
    distance_left: pixels from the centroid to where it should be. area_ratio: segmented area after over before.
    outside: mean absolute change outside the mask, images in [0, 1].
    """

    fraction: float
    distance_left: float
    area_ratio: float
    outside: float


def segment(image: np.ndarray, colour: str, region: np.ndarray) -> np.ndarray:
    """(H, W) bool: the largest connected patch of `colour`'s hue inside `region` (H, W), holes closed.

    image: (H, W, 3) uint8 RGB; colour: a name of `COLOURS`.
    """
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    hue = cv2.cvtColor(np.uint8([[COLOURS[colour]]]), cv2.COLOR_RGB2HSV)[0, 0, 0]
    difference = np.abs(hsv[..., 0].astype(int) - int(hue))
    match = np.minimum(difference, 180 - difference) <= _HUE_TOLERANCE
    match &= (hsv[..., 1] >= _MIN_SATURATION) & (region > 0)
    closed = cv2.morphologyEx(match.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((9, 9), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(closed)
    if count < 2:
        return np.zeros(match.shape, bool)
    largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    return labels == largest


def centroid(patch: np.ndarray) -> tuple[float, float] | None:
    """(x, y) pixels of a bool patch, None if it is empty."""
    rows, cols = np.nonzero(patch)
    return (float(cols.mean()), float(rows.mean())) if len(rows) else None


def measure(task: DragTask, result: np.ndarray) -> Movement:
    """Compare (S, S, 3) uint8 RGB `result` with the task's image. A vanished object has moved nowhere: fraction 0."""
    item = task.scene.objects[0]
    before = segment(task.image, item.colour, object_mask(item, task.scene.size))
    after = segment(result, item.colour, task.mask)
    start, end = centroid(before), centroid(after)
    length = float(np.hypot(*task.offset))
    change = np.abs(result.astype(np.float32) - task.image).mean(axis=2) / 255
    outside = float(change[task.mask == 0].mean())
    if start is None or end is None:
        return Movement(0.0, length, 0.0, outside)
    moved = np.subtract(end, start)
    return Movement(
        fraction=float(moved @ np.array(task.offset) / length**2),
        distance_left=float(np.hypot(*(np.array(task.offset) - moved))),
        area_ratio=float(after.sum() / before.sum()),
        outside=outside,
    )
