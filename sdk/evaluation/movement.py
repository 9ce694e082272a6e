"""How a drag of known outcome went, measured on pixels: never by the drag's own tracker."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .tasks import DragTask, middle_of

_DIFFERENT = 70.0  # summed RGB difference from the ground that counts as a toy
_SOLID = 0.25  # of a toy's area: a piece of what is left behind this large is a second figure
_AREA_KEPT = (0.8, 1.25)


@dataclass(frozen=True)
class Movement:
    """fraction: of the way, the centroid's displacement along the drag over the drag's length; 1 is all of it.
    overlap: intersection over union with where it should be. left_behind: share of the old place, where the figure
    should be gone, that still shows something. area_ratio: what is seen over what should be. second_figure: a piece of
    at least a quarter of the figure stands apart from it. All of these are of whole figures and None for other kinds.
    part_fraction: of parts, how far the best place of the part's own pixels lies on its way; None for other kinds.
    distance_left: pixels between where the centroid is and where it should be; of parts, how far the best place is from
    the end of the way. All of it where nothing is seen; None for rotations and stretches, which have no common way.
    remaining_error: mean absolute difference to the true picture inside the mask, over that of the untouched picture;
    0 is perfect, 1 as far off as at the start. outside: share of pixels outside the mask that changed at all.
    """

    fraction: float | None
    overlap: float | None
    left_behind: float | None
    area_ratio: float | None
    second_figure: bool | None
    part_fraction: float | None
    distance_left: float | None
    remaining_error: float
    outside: float

    @property
    def area_kept(self) -> bool | None:
        """The area came out between 0.8 and 1.25 of what it should be."""
        return None if self.area_ratio is None else _AREA_KEPT[0] <= self.area_ratio <= _AREA_KEPT[1]


def measure(task: DragTask, result: np.ndarray) -> Movement:
    """Compare (S, S, 3) uint8 RGB `result` with the task's truth."""
    inside = task.mask > 0
    picture, image, truth = (array.astype(np.float64) for array in (result, task.image, task.truth))
    remaining = np.abs(picture - truth)[inside].mean() / max(1e-6, np.abs(image - truth)[inside].mean())
    outside = float((result != task.image).any(-1)[~inside].mean())
    whole: tuple = (None, None, None, None, None)
    part = left = None
    if task.kind == "move":
        seen = (np.abs(picture - task.ground).sum(2) > _DIFFERENT) & inside
        whole, left = _of_a_figure(task, seen), _distance_left(task, seen)
    elif task.kind == "part":
        part = _of_a_part(task, picture)
        left = abs(1 - part) * float(np.hypot(*task.offset))
    return Movement(*whole, part_fraction=part, distance_left=left, remaining_error=float(remaining), outside=outside)


def _of_a_figure(task: DragTask, seen: np.ndarray) -> tuple[float, float, float, float, bool]:
    gone = task.before & ~task.after
    overlap = float((seen & task.after).sum() / max(1, (seen | task.after).sum()))
    left = float((seen & gone).sum() / task.before.sum())
    area = float(seen.sum() / task.after.sum())
    if not seen.any():
        return 0.0, overlap, left, area, False
    way = np.array(middle_of(seen)) - middle_of(task.before)
    offset = np.array(task.offset)
    return float(way @ offset / (offset @ offset)), overlap, left, area, _has_second(seen, task.after)


def _distance_left(task: DragTask, seen: np.ndarray) -> float:
    if not seen.any():
        return float(np.hypot(*task.offset))
    return float(np.hypot(*(np.array(middle_of(task.before)) + task.offset - middle_of(seen))))


def _has_second(seen: np.ndarray, place: np.ndarray) -> bool:
    """Whether a large piece of what is seen lies apart from the place where the figure should be."""
    solid = cv2.morphologyEx(seen.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    count, labels = cv2.connectedComponents(solid)
    least = _SOLID * place.sum()
    return any((labels == n).sum() >= least and not (place & (labels == n)).any() for n in range(1, count))


def _of_a_part(task: DragTask, picture: np.ndarray) -> float:
    """How far the part went, in shares of its way: where its own pixels fit the picture best.

    Its pixels are compared at places from a half way back to a half beyond the end, each over the pixels that the part
    covers there; the best of them, between the two best neighbours, is where it is.
    """
    shares = np.linspace(-0.5, 1.5, 41)
    covered = task.before.astype(np.float32)
    errors = []
    for share in shares:
        shift = np.array([[1, 0, share * task.offset[0]], [0, 1, share * task.offset[1]]], np.float32)
        size = picture.shape[1::-1]
        moved = cv2.warpAffine(task.image.astype(np.float32), shift, size, flags=cv2.INTER_LINEAR)
        weight = cv2.warpAffine(covered, shift, size, flags=cv2.INTER_LINEAR)
        errors.append(float((np.abs(moved - picture).sum(2) * weight).sum() / weight.sum()))
    return float(shares[int(np.argmin(errors))])
