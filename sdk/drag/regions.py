"""What the drags of an edit carry: given by the user, or found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from ..errors import InputError
from ..picture.frame import box_around
from ..picture.segmentation import PROBABLE, WORKING_SIDE, find_region
from ..request import Drag
from .deform import fits_all


@dataclass(frozen=True)
class Regions:
    """What the drags of an edit carry. moves: regions (H, W) bool, with the drags of each. source: where they are from:
    the user; found from the handles; or all of the mask, or what lies around the handles, where nothing was found.
    """

    moves: tuple[tuple[np.ndarray, tuple[Drag, ...]], ...]
    source: Literal["given", "found", "mask", "handles"]

    @property
    def union(self) -> np.ndarray:
        """(H, W) bool, all that moves."""
        return np.any([region for region, _ in self.moves], axis=0)

    @property
    def notes(self) -> tuple[str, ...]:
        """A sentence for the user where what moves is but a guess."""
        if self.source in ("given", "found"):
            return ()
        what = "all of the mask" if self.source == "mask" else "what lies around the handles"
        return (f"What the handles lie on could not be told from its surroundings, so {what} is moved; give a region.",)


def choose_regions(
    picture: np.ndarray, drags: Sequence[Drag], mask: np.ndarray | None, given: Sequence[np.ndarray] = ()
) -> Regions:
    """What each of the drags carries.

    picture: (H, W, 3) uint8 RGB; mask: (H, W) bool, what may change, or None; given: regions (H, W) bool of the user,
    one for all drags or one per drag. Raises InputError for another number of them.
    """
    if given:
        check_regions(len(given), len(drags))
        if len(given) == 1:
            return Regions(((given[0], tuple(drags)),), "given")
        return Regions(_grouped(given, drags), "given")
    top, left, bottom, right = box_around(drags, mask, picture.shape[:2])
    here = (slice(top, bottom), slice(left, right))
    handles = [(drag.source[0] - left, drag.source[1] - top) for drag in drags]
    found = find_region(picture[here], handles, None if mask is None else mask[here])
    if found is not None:
        whole = np.zeros(picture.shape[:2], bool)
        whole[here] = found
        return Regions(_pieces(whole, drags), "found")
    if mask is not None:
        return Regions(((mask, tuple(drags)),), "mask")
    discs = np.zeros(picture.shape[:2], np.uint8)
    scale = max(1.0, max(bottom - top, right - left) / WORKING_SIDE)
    for drag in drags:
        cv2.circle(discs, (round(drag.source[0]), round(drag.source[1])), round(PROBABLE * scale), 1, -1)
    return Regions(((discs > 0, tuple(drags)),), "handles")


def check_regions(regions: int, drags: int) -> None:
    """Raise InputError for a number of given regions that fits no number of drags."""
    if regions not in (1, drags):
        raise InputError(f"There are {regions} regions for {drags} drags; give one for all, or one for each.")


def _grouped(regions: Sequence[np.ndarray], drags: Sequence[Drag]) -> tuple[tuple[np.ndarray, tuple[Drag, ...]], ...]:
    """Drags with equal regions carry them together."""
    moves: list[tuple[np.ndarray, list[Drag]]] = []
    for region, drag in zip(regions, drags):
        same = next((group for known, group in moves if np.array_equal(known, region)), None)
        if same is None:
            moves.append((region, [drag]))
        else:
            same.append(drag)
    return tuple((region, tuple(group)) for region, group in moves)


def _pieces(region: np.ndarray, drags: Sequence[Drag]) -> tuple[tuple[np.ndarray, tuple[Drag, ...]], ...]:
    """Pieces that lie apart are things of their own, each carried by the drags on it, or nearest to it.

    But not where one transform serves all drags: then they carry one thing, whose middle may be hidden.
    """
    count, labels = cv2.connectedComponents(region.astype(np.uint8))
    handles, targets = (np.array([getattr(drag, end) for drag in drags]) for end in ("source", "target"))
    if count <= 2 or fits_all(handles, targets, more_than_any=True):
        return ((region, tuple(drags)),)
    places = [np.argwhere(labels == number)[:, ::-1] for number in range(1, count)]
    groups: list[list[Drag]] = [[] for _ in places]
    for drag in drags:
        nearest = min(range(len(places)), key=lambda n: float(np.square(places[n] - drag.source).sum(1).min()))
        groups[nearest].append(drag)
    return tuple((labels == number, tuple(group)) for number, group in enumerate(groups, start=1) if group)
