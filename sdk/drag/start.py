"""Where an edit begins: the picture with what moves already moved, and what that reveals filled (ALGORITHMS 12b).

One function from picture, drags and region to a picture; no model. The user interface draws the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from ..picture.composing import Kept
from ..request import Drag
from .bend import bent_map, find_root, grown
from .deform import Kind, deform, fetch_map, transform_kind

PAINTED = 2  # the model paints what is revealed and so many pixels around it, and as wide a seam around what was moved
SOFT = 1.0  # deviation of the moved region's softened edge, pixels of the picture
CARRIED = 2  # what is carried reaches so many pixels beyond the region: outlines are half background
CLEARED = 5  # and so many are cleared, so that no rim is left at the old place
STREAKS = 2.0  # what is stretched to so many times its area is painted anew: outlines become streaks
FILL_SIDE = 96  # a hole is filled on a copy reduced until its box has this side: inpainting takes long on large ones
FILL_RADIUS = 5  # neighbourhood of the inpainting, pixels


@dataclass(frozen=True)
class Start:
    """The begin of an edit, all of the picture's size.

    picture: (H, W, 3) uint8 RGB. region: (H, W) bool, what was moved, where it was. place: (H, W) float32, 0 to 1:
    where it is now. revealed: (H, W) bool: where it was and is no longer, so that something had to be invented; whoever
    has a better inpainting takes this as its mask. kinds: the transform of each of the regions.
    """

    picture: np.ndarray
    region: np.ndarray
    place: np.ndarray
    revealed: np.ndarray
    kinds: tuple[Kind, ...]

    @cached_property
    def kept(self) -> Kept:
        """What of the picture needs no model: all but what is revealed and the seams of what was moved."""
        seam = grown(self.place > 0.02, PAINTED) & grown(self.place < 0.98, PAINTED)
        painted = grown(self.revealed, PAINTED) | seam
        return Kept(self.picture, cv2.GaussianBlur(painted.astype(np.float32), (0, 0), PAINTED / 4))


def warp_picture(picture: np.ndarray, moves: Sequence[tuple[np.ndarray, Sequence[Drag]]]) -> Start:
    """Move regions of a picture by drags.

    picture: (H, W, 3) uint8 RGB; moves: regions (H, W) bool with the drags that carry each. A drag whose target is its
    handle pins that point. What hangs on a body stays at its root and bends (bend.py). Later regions come to lie on
    earlier ones.
    """
    union = np.any([region for region, _ in moves], axis=0)
    result, roots = without_regions(picture, [region for region, _ in moves])
    place = np.zeros(picture.shape[:2], np.float32)
    stretched = np.zeros(picture.shape[:2], bool)
    kinds = []
    for (region, drags), root in zip(moves, roots):
        handles = np.array([drag.source for drag in drags], np.float64)
        targets = np.array([drag.target for drag in drags], np.float64)
        kind = transform_kind(handles, targets)
        kinds.append(kind)
        if landed := _landed(picture, region, root, handles, targets, kind):
            box, covered = result[landed.where], place[landed.where]
            mixed = box + landed.share[..., None] * (landed.pixels - box.astype(np.float32))
            # Rounded, so that what is not touched keeps its bytes.
            np.copyto(box, np.clip(np.rint(mixed), 0, 255), casting="unsafe")
            np.maximum(covered, landed.share, out=covered)
            stretched[landed.where] |= landed.stretched & (landed.share > 0.5)
    revealed = (grown(union, CARRIED) & (place < 0.5)) | stretched
    return Start(result, union, place, revealed, tuple(kinds))


def without_regions(
    picture: np.ndarray, regions: Sequence[np.ndarray]
) -> tuple[np.ndarray, tuple[np.ndarray | None, ...]]:
    """What the picture is without what moves, filled, and where each of the regions (H, W) bool hangs on a body."""
    union = np.any(regions, axis=0)
    result = fill_hole(picture, grown(union, CLEARED))
    roots = tuple(find_root(picture, region) for region in regions)
    for root in roots:
        if root is not None:
            body = grown(root, CLEARED) & ~union  # what was cleared of it beside what moves
            result[body] = picture[body]
    return result, roots


def in_betweens(
    picture: np.ndarray, moves: Sequence[tuple[np.ndarray, Sequence[Drag]]], count: int
) -> list[np.ndarray]:
    """Pictures on the way of `warp_picture`, without its ends: `count` of them, evenly spaced."""
    pictures = []
    for number in range(1, count + 1):
        share = number / (count + 1)
        part = [(region, [_part_of_the_way(drag, share) for drag in drags]) for region, drags in moves]
        pictures.append(warp_picture(picture, part).picture)
    return pictures


def _part_of_the_way(drag: Drag, share: float) -> Drag:
    x, y = (a + share * (b - a) for a, b in zip(drag.source, drag.target))
    return Drag(drag.source, (x, y))


def fill_hole(picture: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 RGB with the pixels of `hole` (H, W) bool continued from around it (Telea, 2004), roughly."""
    rows, cols = np.flatnonzero(hole.any(1)), np.flatnonzero(hole.any(0))
    if not len(rows):
        return picture.copy()
    height, width = hole.shape
    around = 3 * FILL_RADIUS + max(rows[-1] - rows[0], cols[-1] - cols[0]) // 4
    top, bottom = max(rows[0] - around, 0), min(rows[-1] + 1 + around, height)
    left, right = max(cols[0] - around, 0), min(cols[-1] + 1 + around, width)
    part, gap = picture[top:bottom, left:right], hole[top:bottom, left:right].astype(np.uint8)
    scale = min(1.0, FILL_SIDE / max(rows[-1] + 1 - rows[0], cols[-1] + 1 - cols[0]))
    if scale < 1:
        size = (max(1, round(part.shape[1] * scale)), max(1, round(part.shape[0] * scale)))
        # Averages must not hold what is to be cleared: any touched pixel of the small copy is part of the hole.
        small_gap = (cv2.resize(gap * 255, size, interpolation=cv2.INTER_AREA) > 0).astype(np.uint8)
        small = cv2.inpaint(
            cv2.resize(part, size, interpolation=cv2.INTER_AREA), small_gap, FILL_RADIUS, cv2.INPAINT_TELEA
        )
        filled = cv2.resize(small, part.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    else:
        filled = cv2.inpaint(part, gap, FILL_RADIUS, cv2.INPAINT_TELEA)
    result = picture.copy()
    result[top:bottom, left:right][gap > 0] = filled[gap > 0]
    return result


@dataclass(frozen=True)
class _Landed:
    """A moved region. where: the box of the picture that holds it. The rest is of the box's size (h, w): pixels
    (h, w, 3) float32 RGB; share: float32, how much of them is the region's; stretched: bool, where they show streaks.
    """

    where: tuple[slice, slice]
    pixels: np.ndarray
    share: np.ndarray
    stretched: np.ndarray


def _landed(
    picture: np.ndarray,
    region: np.ndarray,
    root: np.ndarray | None,
    handles: np.ndarray,
    targets: np.ndarray,
    kind: Kind,
) -> _Landed | None:
    """The region where its drags carry it; None where nothing of it is left in the picture."""
    carried = grown(region, CARRIED)
    box = _landing(carried, handles, targets, kind, with_origin=root is not None)
    top, left, bottom, right = box
    if bottom <= top or right <= left:
        return None
    if root is None:
        places, seen = fetch_map(box, handles, targets, kind), None
    else:
        places, seen = bent_map(box, region, root, handles, targets, kind)
    across, down = np.ascontiguousarray(places[..., 0]), np.ascontiguousarray(places[..., 1])
    pixels = cv2.remap(picture, across, down, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    share = cv2.remap(carried.astype(np.float32), across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    share = share if seen is None else share * seen
    share = cv2.GaussianBlur(share, (0, 0), SOFT)
    return _Landed((slice(top, bottom), slice(left, right)), pixels.astype(np.float32), share, _stretched(places))


def _stretched(places: np.ndarray) -> np.ndarray:
    """(h, w) bool: where a map (h, w, 2) draws one pixel of the original over STREAKS or more."""
    down, across = np.gradient(places, axis=0), np.gradient(places, axis=1)
    area = np.abs(across[..., 0] * down[..., 1] - across[..., 1] * down[..., 0])
    return area < 1 / STREAKS


def _landing(
    region: np.ndarray, handles: np.ndarray, targets: np.ndarray, kind: Kind, with_origin: bool
) -> tuple[int, int, int, int]:
    """A box around where the region's outline goes, inside the picture; with_origin: and around where it is."""
    outlines, _ = cv2.findContours(region.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not outlines:
        return 0, 0, 0, 0
    edge = np.concatenate([outline[:, 0] for outline in outlines]).astype(np.float64)
    gone = deform(edge, handles, targets, kind)
    if with_origin:
        gone = np.concatenate([gone, edge])
    room = 8 * SOFT + 8
    left, top = (int(v) for v in np.maximum(np.floor(gone.min(0) - room), 0))
    right, bottom = (int(v) for v in np.minimum(np.ceil(gone.max(0) + room) + 1, region.shape[::-1]))
    return top, left, bottom, right
