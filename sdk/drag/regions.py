"""What the drags of an edit carry: given by the user, or found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from ..errors import InputError
from ..picture.frame import box_around
from ..picture.segmentation import PROBABLE, WORKING_SIDE, find_region, on_plain_ground
from ..request import Drag, Point
from .deform import fits_all

Window = tuple[int, int, int, int]  # (top, left, bottom, right) pixels of the picture

MIDDLE = 0.5  # of a thing reaches so far, in radii of a disc of its area
SAME = 0.7  # overlap with which what is seen closely is what was seen from afar
PART = 0.6  # of a thing's area that a part of it has at most


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
    near = box_around(drags, mask, picture.shape[:2])
    found = _found_anywhere(picture, drags, near) if mask is None else _found_in(picture, drags, near, mask)
    if found is not None:
        return Regions(_pieces(found, drags), "found")
    if mask is not None:
        return Regions(((mask, tuple(drags)),), "mask")
    discs = np.zeros(picture.shape[:2], np.uint8)
    top, left, bottom, right = near
    scale = max(1.0, max(bottom - top, right - left) / WORKING_SIDE)
    for drag in drags:
        cv2.circle(discs, (round(drag.source[0]), round(drag.source[1])), round(PROBABLE * scale), 1, -1)
    return Regions(((discs > 0, tuple(drags)),), "handles")


def _found_in(
    picture: np.ndarray, drags: Sequence[Drag], window: Window, mask: np.ndarray | None = None
) -> np.ndarray | None:
    """(H, W) bool: what the handles lie on in a window, and inside the mask, or None."""
    found = find_region(*_seen(picture, drags, window), None if mask is None else mask[_slices(window)])
    if found is None:
        return None
    whole = np.zeros(picture.shape[:2], bool)
    whole[_slices(window)] = found
    return whole


def _found_anywhere(picture: np.ndarray, drags: Sequence[Drag], near: Window) -> np.ndarray | None:
    """(H, W) bool: what the handles lie on, or None.

    What is taken by its middle moves whole, where it can be told as a whole: on plain ground. What is taken beside its
    middle may be a part, which is looked for closely, in the window `near` the drags.
    """
    whole = _whole_thing(picture, drags, list(_growing(near, picture.shape[:2])))
    if whole is not None and _by_the_middle(whole, drags):
        return whole
    part = _found_in(picture, drags, near)
    if whole is None or part is None:
        return whole if part is None else part
    part &= whole
    height, width = part.shape
    held = all(part[min(int(y), height - 1), min(int(x), width - 1)] for x, y in (drag.source for drag in drags))
    return part if held and part.sum() < PART * whole.sum() else whole


def _whole_thing(picture: np.ndarray, drags: Sequence[Drag], windows: Sequence[Window]) -> np.ndarray | None:
    """(H, W) bool: what the handles lie on, all of it, where it lies on plain ground.

    Looked for in large windows first: in a small one, a thing may be the ground of what is on it. Then once more in the
    smallest that holds it, for the details.
    """
    size = picture.shape[:2]
    plain = [window for window in windows if on_plain_ground(*_seen(picture, drags, window))]
    for window in reversed(plain):
        whole = _found_in(picture, drags, window)
        if whole is None or _cut(whole, window, size):
            continue
        if max(window[2] - window[0], window[3] - window[1]) <= WORKING_SIDE:
            return whole  # seen in all detail already
        close = next(one for one in plain if not _cut(whole, one, size))
        detailed = _found_in(picture, drags, close) if close != window else None
        return whole if detailed is None or not _agree(whole, detailed) else detailed
    return None


def _agree(one: np.ndarray, other: np.ndarray) -> bool:
    return bool((one & other).sum() >= SAME * (one | other).sum())


def _by_the_middle(whole: np.ndarray, drags: Sequence[Drag]) -> bool:
    """Whether the handles' mean lies in the middle of a region (H, W) bool."""
    rows, cols = np.nonzero(whole)
    away = np.mean([drag.source for drag in drags], axis=0) - (cols.mean(), rows.mean())
    return float(np.hypot(*away)) < MIDDLE * np.sqrt(len(rows) / np.pi)


def _growing(window: Window, size: tuple[int, int]) -> Iterator[Window]:
    """Windows from this one up to a whole picture of `size` (height, width)."""
    while True:
        yield window
        top, left, bottom, right = window
        if window == (0, 0, *size):
            return
        down, across = (bottom - top) // 4 + 1, (right - left) // 4 + 1
        window = (max(top - down, 0), max(left - across, 0), min(bottom + down, size[0]), min(right + across, size[1]))


def _seen(picture: np.ndarray, drags: Sequence[Drag], window: Window) -> tuple[np.ndarray, list[Point]]:
    """A window of a picture, and the handles in it."""
    top, left, *_ = window
    return picture[_slices(window)], [(drag.source[0] - left, drag.source[1] - top) for drag in drags]


def _cut(region: np.ndarray, window: Window, size: tuple[int, int]) -> bool:
    """Whether a region (H, W) bool goes beyond a window, or ends where it does and the picture does not."""
    top, left, bottom, right = window
    inner = (top + (top > 0), left + (left > 0), bottom - (bottom < size[0]), right - (right < size[1]))
    return bool(region[_slices(inner)].sum() < region.sum())


def _slices(window: Window) -> tuple[slice, slice]:
    top, left, bottom, right = window
    return slice(top, bottom), slice(left, right)


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
