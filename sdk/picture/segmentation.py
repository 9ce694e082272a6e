"""What moves: found from the handles, and the mask that follows from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ..errors import InputError
from ..request import Drag, Point

WORKING_SIDE = 256  # a region is looked for on a copy reduced to this, pixels
SURE, PROBABLE = 4.0, 14.0  # radii around a handle, pixels at the working side
ROUNDS = 5
MARGIN = 12  # around region, path and target, pixels at the working side
_LEAST, _MOST = 60, 0.95  # a region of fewer pixels, or one that covers more of the mask, is none
_SMALL = 12  # pixels that suffice where they stand out of plain ground
_BRIDGE = 5  # what is thinner than so many pixels does not connect: a part is not its body for a shared outline
_RING = 7  # width of the ring around the mask that tells what the ground is, pixels
_AROUND = 0.3  # what is seen around a rectangle that was drawn, share of its longer side
_COMPANION = 0.1  # pieces so large beside the largest are part of what a rectangle holds
_GROUND = 60.0  # summed RGB difference that is ground still
_PLAIN, _MOSTLY = 0.97, 0.5  # share of the ring that is ground: all around; all but where a body crosses the edge
_BINS, _SEEN = 16, 8  # values a channel is divided into, and pixels of a colour from which on it is there


@dataclass(frozen=True)
class Stroke:
    """What a brush went over. radius: pixels; points: its way, (x, y) pixels, all of the picture."""

    radius: float
    points: tuple[Point, ...]


def find_region(picture: np.ndarray, handles: Sequence[Point], mask: np.ndarray | None = None) -> np.ndarray | None:
    """What the handles lie on, by GrabCut (Rother, Kolmogorov and Blake, 2004).

    Where the mask, or without one the picture's edge, runs all through plain ground, what stands out from that ground
    belongs to it, too: GrabCut alone leaves out what has colours of its own, as dark wheels or a white sail. Where a
    body crosses the mask's edge, this holds for what has colours that the body does not have, as petals around the
    heart of a flower.

    picture: (H, W, 3) uint8 RGB; handles: (x, y) pixels; mask: (H, W) bool, inside which to look, or None. Returns
    (H, W) bool, or None where nothing can be told from its surroundings.
    """
    height, width = picture.shape[:2]
    scale = min(1.0, WORKING_SIDE / max(height, width))
    small = _shrink(picture, scale)
    points = [(min(int(x * scale), small.shape[1] - 1), min(int(y * scale), small.shape[0] - 1)) for x, y in handles]
    labels = np.full(small.shape[:2], cv2.GC_PR_BGD, np.uint8)
    if mask is None:
        inside = np.ones(small.shape[:2], bool)
        ring = ~_inner(small.shape[:2])
    else:
        inside = _shrink(mask.astype(np.uint8) * 255, scale) > 127
        ring = _ring(inside)
    for radius, label in ((PROBABLE, cv2.GC_PR_FGD), (SURE, cv2.GC_FGD)):
        for point in points:
            cv2.circle(labels, point, round(radius), label, -1)
    standing, plain = _standing_out(small, inside, ring)
    if mask is not None and _MOSTLY <= plain < _PLAIN:
        labels[_unlike(small, standing, ~inside) & (labels == cv2.GC_PR_BGD)] = cv2.GC_PR_FGD
    labels[~inside] = cv2.GC_BGD
    found, least = _grab(small, labels), _LEAST
    if found is None:
        return None
    under = tuple(np.array(points, np.intp).reshape(-1, 2).T[::-1])
    if plain >= _PLAIN:
        found = _touched(_solid(found | standing), under)
    else:  # the mask's border, or the picture's, cuts a part off its body
        whole = _solid(found)
        found = _touched(_without_bridges(whole), under)
        if found.sum() < _LEAST and plain >= _MOSTLY:
            found = _touched(whole & standing, under)  # a chimney that hardly looks over its roof
            least = _SMALL
    if found.sum() < least or found.sum() > _MOST * inside.sum():
        return None
    return _enlarge(found, (height, width))


def on_plain_ground(picture: np.ndarray, handles: Sequence[Point]) -> bool:
    """Whether the edge of a picture is plain ground, and some handle lies on something else.

    picture: (H, W, 3) uint8 RGB; handles: (x, y) pixels.
    """
    scale = min(1.0, WORKING_SIDE / max(picture.shape[:2]))
    small = _shrink(picture, scale)
    standing, plain = _standing_out(small, np.ones(small.shape[:2], bool), ~_inner(small.shape[:2]))
    discs = (_painted([Stroke(SURE / scale, (handle,))], (0, 0), scale, small.shape[:2]) for handle in handles)
    return plain >= _PLAIN and any(standing[disc].mean() > 0.5 for disc in discs)


def pick_region(
    picture: np.ndarray,
    *,
    handles: Sequence[Point] = (),
    box: tuple[float, float, float, float] | None = None,
    plus: Sequence[Stroke] = (),
    minus: Sequence[Stroke] = (),
) -> np.ndarray | None:
    """What somebody points at, by GrabCut: with clicks, a rectangle around it, strokes over it and beside it.

    picture: (H, W, 3) uint8 RGB; handles: (x, y) pixels that lie on it; box: (left, top, right, bottom) pixels that
    hold all of it; plus, minus: what belongs to it and what does not, for certain. Returns (H, W) bool, or None where
    nothing can be told from its surroundings. Raises InputError where nothing is pointed at.
    """
    if not handles and not plus and box is None:
        raise InputError("Nothing is pointed at; click on the object, draw a rectangle around it or paint over it.")
    height, width = picture.shape[:2]
    top, left, bottom, right = _window(box, plus, (height, width))
    part = picture[top:bottom, left:right]
    scale = min(1.0, WORKING_SIDE / max(part.shape[:2]))
    small = _shrink(part, scale)

    def painted(strokes: Sequence[Stroke]) -> np.ndarray:
        return _painted(strokes, (left, top), scale, small.shape[:2])

    def at(radius: float) -> np.ndarray:
        return painted([Stroke(radius / scale, (handle,)) for handle in handles])

    room = np.ones(small.shape[:2], bool)
    labels = np.full(small.shape[:2], cv2.GC_PR_BGD, np.uint8)
    if box is not None:
        room[:] = False
        x0, y0, x1, y1 = ((side - edge) * scale for side, edge in zip(box, (left, top, left, top)))
        room[max(0, round(y0)) : max(1, round(y1)), max(0, round(x0)) : max(1, round(x1))] = True
        labels[:] = np.where(room, cv2.GC_PR_FGD, cv2.GC_BGD)
    else:
        around = [Stroke(stroke.radius + PROBABLE / scale, stroke.points) for stroke in plus]
        labels[at(PROBABLE) | painted(around)] = cv2.GC_PR_FGD
    sure, never = painted(plus), painted(minus)
    labels[at(SURE) | sure] = cv2.GC_FGD
    labels[never] = cv2.GC_BGD
    found = _grab(small, labels)
    if found is None:
        return None
    if box is not None:
        standing, plain = _standing_out(small, room, _ring(room))
        found |= standing & (plain >= _PLAIN)
    found = (_solid(found) | sure) & ~never
    pointed = (at(SURE) & ~never) | sure
    wanted = _touched(found, pointed)
    found = wanted if box is None else wanted | _largest(found)
    if found.sum() < _LEAST or found.sum() > _MOST * found.size:
        return None
    whole = np.zeros((height, width), bool)
    whole[top:bottom, left:right] = _enlarge(found, (bottom - top, right - left))
    return whole


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


def _grab(picture: np.ndarray, labels: np.ndarray) -> np.ndarray | None:
    """What is foreground by GrabCut, which changes the labels; None where they leave nothing to find, or only that."""
    if not 0 < _foreground(labels).sum() < labels.size:
        return None
    background, foreground = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.setRNGSeed(0)  # its colour models begin at random: equal pictures must give equal regions
    nowhere = (0, 0, 0, 0)  # a rectangle, which only another mode would read
    cv2.grabCut(picture, labels, nowhere, background, foreground, ROUNDS, cv2.GC_INIT_WITH_MASK)
    return _foreground(labels)


def _foreground(labels: np.ndarray) -> np.ndarray:
    return np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))


def _ring(inside: np.ndarray) -> np.ndarray:
    """What lies around a mask."""
    return (cv2.dilate(inside.astype(np.uint8), np.ones((2 * _RING + 1, 2 * _RING + 1), np.uint8)) > 0) & ~inside


def _inner(size: tuple[int, int]) -> np.ndarray:
    """(h, w) bool: all but the edge of a picture."""
    inner = np.zeros(size, bool)
    inner[_RING:-_RING, _RING:-_RING] = True
    return inner


def _standing_out(picture: np.ndarray, inside: np.ndarray, ring: np.ndarray) -> tuple[np.ndarray, float]:
    """What in the mask differs from the ground in the ring around it, and how much of the ring is that ground."""
    if not ring.any():
        return ring, 0.0
    differs = np.abs(picture.astype(np.float32) - np.median(picture[ring], axis=0)).sum(2) > _GROUND
    return differs & inside, float(1 - differs[ring].mean())


def _unlike(picture: np.ndarray, where: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The pixels of `where` whose colours `others` do not have, nor any colour close to them; all (H, W) bool."""
    bins = (picture // (256 // _BINS)).astype(np.intp)
    seen = np.zeros((_BINS,) * 3, np.intp)
    np.add.at(seen, tuple(bins[others].T), 1)
    there = np.pad(seen >= _SEEN, 1)
    close = there[1:-1, 1:-1, 1:-1].copy()
    for axis in range(3):
        for step in (-1, 1):
            close |= np.roll(there, step, axis)[1:-1, 1:-1, 1:-1]
    return where & ~close[tuple(np.moveaxis(bins, 2, 0))]


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


def _touched(region: np.ndarray, where: np.ndarray | tuple[np.ndarray, ...]) -> np.ndarray:
    """The connected pieces that hold some of `where`, (H, W) bool or (rows, columns)."""
    _, labels = cv2.connectedComponents(region.astype(np.uint8))
    return np.isin(labels, np.setdiff1d(labels[where], [0]))


def _largest(region: np.ndarray) -> np.ndarray:
    """The largest connected piece, and those that are not much smaller."""
    _, labels, facts, _ = cv2.connectedComponentsWithStats(region.astype(np.uint8))
    areas = facts[:, cv2.CC_STAT_AREA]
    areas[0] = 0
    return np.isin(labels, np.flatnonzero(areas > _COMPANION * areas.max()))


def _window(
    box: tuple[float, float, float, float] | None, plus: Sequence[Stroke], size: tuple[int, int]
) -> tuple[int, int, int, int]:
    """(top, left, bottom, right) of what is looked at: all of the picture, or what lies around a rectangle."""
    if box is None:
        return 0, 0, *size
    corners = [box[:2], box[2:], *(point for stroke in plus for point in stroke.points)]
    low, high = np.min(corners, axis=0), np.max(corners, axis=0)
    room = max(2.0 * _RING, _AROUND * float((high - low).max()))
    left, top = (int(v) for v in np.clip(np.floor(low - room), 0, np.array(size[::-1]) - 1))
    right, bottom = (int(v) for v in np.clip(np.ceil(high + room), (left + 1, top + 1), size[::-1]))
    return top, left, bottom, right


def _painted(strokes: Sequence[Stroke], corner: tuple[int, int], scale: float, size: tuple[int, int]) -> np.ndarray:
    """(h, w) bool of `size`: what strokes cover in a part of the picture that begins at `corner` (x, y), scaled."""
    drawn = np.zeros(size, np.uint8)
    for stroke in strokes:
        radius = max(1, round(stroke.radius * scale))
        way = np.rint((np.array(stroke.points, np.float64) - corner) * scale).astype(np.int32)
        cv2.polylines(drawn, [way.reshape(-1, 1, 2)], False, 1, 2 * radius)
        for x, y in way.tolist():
            cv2.circle(drawn, (x, y), radius, 1, -1)
    return drawn > 0


def _enlarge(region: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if region.shape == size:
        return region
    return cv2.resize(region.astype(np.float32), size[::-1], interpolation=cv2.INTER_LINEAR) > 0.5


def _shrink(picture: np.ndarray, scale: float) -> np.ndarray:
    if scale == 1:
        return picture
    size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
