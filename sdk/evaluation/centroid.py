"""Where an object really is, by colour segmentation: the judge of a drag, never the drag's own tracker."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .tasks import DragTask

_DIFFERENT = 45.0  # RGB distance from the surroundings that counts as object
_VANISHED = 0.15  # with less of its area left than this, an object has not moved but disappeared


@dataclass(frozen=True)
class Movement:
    """How a drag went, measured on pixels.

    fraction: the centroid's displacement along the drag over the drag's length; 1 is all the way. distance_left: pixels
    from the centroid to where it should be. Both are None where the drag is not that of a whole object.
    remaining_error: mean absolute difference to the true picture inside the mask, over that of the untouched picture;
    0 is perfect, 1 as far off as at the start. area_ratio: segmented area after over before.
    outside: mean absolute change outside the mask, images in [0, 1]. overlap: intersection over union of what is
    segmented with where the object should be; it falls where the object is smeared or torn on the way.
    """

    fraction: float | None
    distance_left: float | None
    remaining_error: float
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
    inside = task.mask > 0
    picture, image, truth = (array.astype(np.float32) for array in (result, task.image, task.truth))
    wanted = segment(task.truth, task.mask)
    facts = {
        "remaining_error": float(np.abs(picture - truth)[inside].mean() / np.abs(image - truth)[inside].mean()),
        "area_ratio": float(after.sum() / max(before.sum(), 1)),
        "outside": float(np.abs(picture - image)[~inside].mean() / 255),
        "overlap": float((after & wanted).sum() / max((after | wanted).sum(), 1)),
    }
    if task.kind != "move":
        return Movement(None, None, **facts)
    start, end = centroid(before), centroid(after)
    length = float(np.hypot(*task.offset))
    if start is None or end is None or facts["area_ratio"] < _VANISHED:
        return Movement(0.0, length, **facts)
    moved = np.subtract(end, start)
    return Movement(
        float(moved @ np.array(task.offset) / length**2),
        float(np.hypot(*(np.array(task.offset) - moved))),
        **facts,
    )
