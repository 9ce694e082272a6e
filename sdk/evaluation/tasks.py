"""Drags of known outcome on scenes of a single toy: a whole figure, a part, a rotation, a stretch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np

from .drawing import draw_ground, draw_scene, toy_mask
from .figures import COLOURS, movable_parts
from .scenes import FIRST_UNSEEN_SEED, SHIFT, TILT, Scene, Toy, make_scene

KINDS = ("move", "part", "rotate", "stretch")
FIRST_TASK_SEED = FIRST_UNSEEN_SEED + 10_000
SHORTEST, LONGEST = 30.0, 80.0  # way of a whole figure, pixels
LONG = 110.0  # at least, of a long one
_LEAST_SHIFT = 0.08  # of a part, radii
_MOST_TURN = 0.7  # radians; turns begin where the world's tilts end, and may leave their range
_STRETCH = 1.3  # a stretch ends at this aspect, or at its inverse
_ROOM = 25  # width of the brush that widens the way to the mask, pixels
_INWARD, _INWARD_STRETCH = 0.2, 0.05  # handles near the outline lie so much of the way towards the middle

Change = Callable[[float], Toy]
Pair = tuple[tuple[float, float], tuple[float, float]]


@dataclass(frozen=True)
class DragTask:
    """A drag with a known answer.

    kind: one of KINDS. image, truth: (S, S, 3) uint8 RGB before, and as it should be afterwards; ground: without any
    toy. drags: ((x0, y0), (x1, y1)) pixel pairs. mask: (S, S) uint8, 255 where the image may change. before, after:
    (S, S) bool, what moves, where it is and where it should be. offset: (dx, dy) pixels of what moves; (0, 0) for a
    rotation or a stretch, which have no common offset.
    """

    kind: str
    scene: Scene
    image: np.ndarray
    truth: np.ndarray
    ground: np.ndarray
    drags: tuple[Pair, ...]
    mask: np.ndarray
    before: np.ndarray
    after: np.ndarray
    offset: tuple[float, float]

    @property
    def caption(self) -> str:
        """What the scene shows, with the toy's pose."""
        return self.scene.describe(pose=True)


def drag_task(number: int, kind: str, size: int = 256) -> DragTask:
    """The task of a number (0 and up: never trained on) and one of the KINDS."""
    if kind not in KINDS:
        raise ValueError(f"`kind` is {kind!r}, but must be one of {KINDS}")
    seed = FIRST_TASK_SEED + number
    rng = np.random.default_rng([seed, 7])
    scene = make_scene(seed, size, 1)
    (toy,) = scene.toys
    if kind in ("rotate", "stretch"):  # room to turn
        x, y = (float(np.clip(c, 100, 156)) for c in toy.centre)
        toy = replace(toy, centre=(x, y), radius=min(toy.radius, 56.0))
        scene = replace(scene, toys=(toy,))
    return _task(scene, kind, _CHANGES[kind](toy, rng, size))


def long_task(number: int, size: int = 256) -> DragTask:
    """A whole small figure goes across most of the picture, two to five times as far as in `drag_task`."""
    seed = FIRST_TASK_SEED + number
    rng = np.random.default_rng([seed, 11])
    (toy,) = make_scene(seed, size, 1, ("small",)).toys
    toy = replace(toy, radius=min(toy.radius, 36.0))
    reach = toy.reach
    for _ in range(500):
        ends = rng.uniform(reach, size - reach, (2, 2))
        if np.hypot(*(ends[1] - ends[0])) >= LONG:
            break
    start = (float(ends[0][0]), float(ends[0][1]))
    offset = np.round(ends[1] - ends[0])
    toy = replace(toy, centre=start)
    scene = replace(make_scene(seed, size, 1, ("small",)), toys=(toy,))
    return _task(scene, "move", _along(toy, offset))


def twins_task(number: int, size: int = 256) -> DragTask:
    """A whole figure is moved, and another of its kind in another colour stands by: whose colour arrives?"""
    seed = FIRST_TASK_SEED + number
    rng = np.random.default_rng([seed, 13])
    scene = make_scene(seed, size, 1, ("small",))
    toy = replace(scene.toys[0], radius=min(scene.toys[0].radius, 36.0))
    colours = [colour for colour in COLOURS if colour != toy.colour]
    for _ in range(500):
        places = rng.uniform(toy.reach, size - toy.reach, (2, 2))
        moved = replace(toy, centre=(float(places[0][0]), float(places[0][1])))
        other = replace(
            toy, centre=(float(places[1][0]), float(places[1][1])), colour=colours[rng.integers(len(colours))]
        )
        pair = replace(scene, toys=(moved, other))
        at = _moved(moved, rng, size)
        if not ((_room(pair, at, None) > 0) & toy_mask(pair, 1)).any():
            break
    return _task(pair, "move", at)


def negative_task(number: int, size: int = 256) -> DragTask:
    """A whole figure is moved in a photographic negative: the model knows the figure, and no such look."""
    task = drag_task(number, "move", size)
    return replace(task, image=255 - task.image, truth=255 - task.truth, ground=255 - task.ground)


def with_points(task: DragTask, count: int) -> DragTask:
    """A move with so many handles, spread over what moves: as far from each other as they can be, the middle first."""
    inside = cv2.erode(task.before.astype(np.uint8), np.ones((5, 5), np.uint8))
    rows, cols = np.nonzero(inside if inside.sum() >= count else task.before)
    places = np.stack([cols, rows], 1).astype(float)
    found = [np.array(middle_of(task.before))]
    gaps = np.full(len(places), np.inf)
    while len(found) < count:
        gaps = np.minimum(gaps, np.hypot(*(places - found[-1]).T))
        found.append(places[gaps.argmax()])
    dx, dy = task.offset
    drags = tuple(((float(x), float(y)), (float(x + dx), float(y + dy))) for x, y in found)
    return replace(task, drags=drags)


# Where identity is at risk. Measured as moves, which they are.
HARD: dict[str, Callable[[int], DragTask]] = {
    "twins": twins_task,
    "long": long_task,
    "negative": negative_task,
}


def _task(scene: Scene, kind: str, at: Change) -> DragTask:
    """The first of the scene's toys changes as `at` says, from share 0 to 1 of the way."""
    toy, *others = scene.toys
    only = frozenset(movable_parts(toy.figure)) if kind == "part" else None
    after = at(1.0)
    before_mask = toy_mask(scene, 0, only)
    handles = _handles(scene, kind, before_mask)
    targets = [_carried(toy, after, handle, kind) for handle in handles]
    ended = replace(scene, toys=(after, *others))
    offset = (0.0, 0.0)
    if kind in ("move", "part"):
        offset = (targets[0][0] - handles[0][0], targets[0][1] - handles[0][1])
    return DragTask(
        kind=kind,
        scene=scene,
        image=draw_scene(scene),
        truth=draw_scene(ended),
        ground=draw_ground(scene),
        drags=tuple(zip(handles, targets)),
        mask=_room(scene, at, only),
        before=before_mask,
        after=toy_mask(ended, 0, only),
        offset=offset,
    )


def toy_of_task(number: int, size: int = 256) -> Toy:
    """The toy of a task before its drag, without drawing anything; rotations and stretches may shift and shrink it."""
    (toy,) = make_scene(FIRST_TASK_SEED + number, size, 1).toys
    return toy


def _moved(toy: Toy, rng: np.random.Generator, size: int) -> Change:
    centre = np.array(toy.centre)
    for _ in range(500):
        length, angle = rng.uniform(SHORTEST, LONGEST), rng.uniform(0, 2 * np.pi)
        offset = np.round(length * np.array([np.cos(angle), np.sin(angle)]))
        end = centre + offset
        if (end > toy.reach).all() and (end < size - toy.reach).all():
            break
    else:  # a toy too large to go anywhere else
        offset = np.round((size / 2 - centre) * 0.8)
    return _along(toy, offset)


def _along(toy: Toy, offset: np.ndarray) -> Change:
    x, y = toy.centre
    return lambda share: replace(toy, centre=(x + share * offset[0], y + share * offset[1]))


def _shifted(toy: Toy, rng: np.random.Generator, size: int) -> Change:
    """The movable part goes to the other side of its middle, within the world's range."""
    was = toy.shifts[1]
    across, along = SHIFT
    goal = (float(rng.uniform(-across, across)), float(-np.sign(was[1]) * rng.uniform(_LEAST_SHIFT, along)))

    def at(share: float) -> Toy:
        now = (was[0] + share * (goal[0] - was[0]), was[1] + share * (goal[1] - was[1]))
        return replace(toy, shifts=(toy.shifts[0], now, *toy.shifts[2:]))

    return at


def _turned(toy: Toy, rng: np.random.Generator, size: int) -> Change:
    turn = float(-np.sign(toy.angle or 1) * rng.uniform(TILT, _MOST_TURN))
    return lambda share: replace(toy, angle=toy.angle + share * turn)


def _stretched(toy: Toy, rng: np.random.Generator, size: int) -> Change:
    wanted = _STRETCH if toy.aspect < 1 else 1 / _STRETCH
    return lambda share: replace(toy, aspect=toy.aspect * (wanted / toy.aspect) ** share)


_CHANGES: dict[str, Callable[[Toy, np.random.Generator, int], Change]] = {
    "move": _moved,
    "part": _shifted,
    "rotate": _turned,
    "stretch": _stretched,
}


def _handles(scene: Scene, kind: str, mask: np.ndarray) -> list[tuple[float, float]]:
    """Where somebody would take hold: pieces of a part in their middle, a figure near its outermost points."""
    toy = scene.toys[0]
    if kind == "part":  # a cat has two ears
        names = movable_parts(toy.figure)
        pieces = [{"left ear"}, {"right ear"}] if toy.figure == "cat" else [set(names)]
        return [middle_of(toy_mask(scene, 0, piece)) for piece in pieces]
    middle = np.array(middle_of(mask))
    rows, cols = np.nonzero(mask)
    outermost = (np.argmin(cols), np.argmax(cols), np.argmin(rows), np.argmax(rows))
    inward = _INWARD_STRETCH if kind == "stretch" else _INWARD
    ends = [np.array([cols[i], rows[i]], float) for i in outermost]
    ends = [end + inward * (middle - end) for end in ends]
    points = [middle, *ends[:2]] if kind == "move" else ends
    return [(float(x), float(y)) for x, y in points]


def middle_of(mask: np.ndarray) -> tuple[float, float]:
    """(x, y), the centroid of what is not 0."""
    rows, cols = np.nonzero(mask)
    return float(cols.mean()), float(rows.mean())


def _carried(toy: Toy, after: Toy, point: tuple[float, float], kind: str) -> tuple[float, float]:
    """Where what is at a point goes."""
    if kind == "part":
        start, end = toy.to_pixels(*toy.shifts[1]), after.to_pixels(*after.shifts[1])
        return float(point[0] + end[0] - start[0]), float(point[1] + end[1] - start[1])
    x, y = after.to_pixels(*toy.to_local(*point))
    return float(x), float(y)


def _room(scene: Scene, at: Change, only: frozenset[str] | None) -> np.ndarray:
    """The whole way of what moves, with a dozen pixels around."""
    room = np.zeros((scene.size, scene.size), np.uint8)
    for share in np.linspace(0, 1, 9):
        room[toy_mask(replace(scene, toys=(at(float(share)),)), 0, only)] = 255
    return cv2.dilate(room, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (_ROOM, _ROOM)))
