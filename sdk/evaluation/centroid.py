"""Where an object really is, by colour segmentation: the judge of a drag, never the drag's own tracker."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .scenes import DragTask

_DIFFERENT = 45.0  # RGB distance from the surroundings that counts as object
_VANISHED = 0.15  # with less of its area left than this, an object has not moved but disappeared


@dataclass(frozen=True)
class Movement:
    """How a drag went, measured on pixels.

    fraction: the centroid's displacement along the drag over the drag's length; 1 is all the way.
    distance_left: pixels from the centroid to where it should be. area_ratio: segmented area after over before.
    outside: mean absolute change outside the mask, images in [0, 1]. overlap: intersection over union of what is
    segmented with where the object should be; it falls where the object is smeared or torn on the way.
    """

    fraction: float
    distance_left: float
    area_ratio: float
    outside: float
    overlap: float


def segment(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(H, W) bool: what inside the mask differs in colour from the background just outside it.

    Everything that differs counts, so a ghost left at the old place pulls the centroid back. Asking for the object's
    own hue instead would be fooled by an autoencoder that shifts colours.
    image: (H, W, 3) uint8 RGB; mask: (H, W), > 0 inside.
    """
    inside = (mask > 0).astype(np.uint8)
    ring = (cv2.dilate(inside, np.ones((31, 31), np.uint8)) > 0) & (inside == 0)
    background = np.median(image[ring].astype(np.float32), axis=0)
    smooth = cv2.GaussianBlur(image, (3, 3), 0).astype(np.float32)
    differs = ((np.linalg.norm(smooth - background, axis=2) > _DIFFERENT) & (inside > 0)).astype(np.uint8)
    opened = cv2.morphologyEx(differs, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    return cv2.morphologyEx(opened, cv2.MORPH_CLOSE, np.ones((9, 9), np.uint8)) > 0


def centroid(patch: np.ndarray) -> tuple[float, float] | None:
    """(x, y) pixels of a bool patch, None if it is empty."""
    rows, cols = np.nonzero(patch)
    return (float(cols.mean()), float(rows.mean())) if len(rows) else None


def measure(task: DragTask, result: np.ndarray) -> Movement:
    """Compare (S, S, 3) uint8 RGB `result` with the task's image. A vanished object has moved nowhere: fraction 0."""
    before, after = segment(task.image, task.mask), segment(result, task.mask)
    start, end = centroid(before), centroid(after)
    length = float(np.hypot(*task.offset))
    change = np.abs(result.astype(np.float32) - task.image).mean(axis=2) / 255
    outside = float(change[task.mask == 0].mean())
    truth = segment(task.truth, task.mask)
    overlap = float((after & truth).sum() / max((after | truth).sum(), 1))
    area_ratio = float(after.sum() / max(before.sum(), 1))
    if start is None or end is None or area_ratio < _VANISHED:
        return Movement(0.0, length, area_ratio, outside, overlap)
    moved = np.subtract(end, start)
    return Movement(
        fraction=float(moved @ np.array(task.offset) / length**2),
        distance_left=float(np.hypot(*(np.array(task.offset) - moved))),
        area_ratio=area_ratio,
        outside=outside,
        overlap=overlap,
    )
