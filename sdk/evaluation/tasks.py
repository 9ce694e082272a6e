"""Drags whose true outcome is known, made from scenes: a whole object, a part, a rotation, a stretch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np

from .scenes import FIGURES, Scene, SceneObject, make_scene, object_mask, render, to_local, to_pixels

KINDS = ("move", "part", "rotate", "stretch")
# Parts that mean something when dragged on their own.
_PARTS = {"face": ("mouth", "left eye", "right eye"), "car": ("cabin", "front wheel"), "flower": ("leaf",)}
# The published step sizes are tuned to Stable Diffusion 1.5; these suit the embedded model (see training/README.md).
DEMO_SETTINGS: dict[str, dict[str, float | int]] = {
    "dragdiffusion": {"lr": 0.08, "steps": 30, "lora_steps": 0},
    "dragnoise": {"lr": 0.1, "steps": 40, "lora_steps": 0},
    "freedrag": {"lr": 0.08, "steps": 60, "expected_loss": 4.0, "lora_steps": 0},
    "gooddrag": {"tracks_per_level": 4, "lora_steps": 0},
}
# On top of these when a whole object moves: then a patch that covers most of it takes it along in one piece. Where
# things on one object move differently, as parts do, such patches would be at odds.
WHOLE_OBJECT_SETTINGS: dict[str, dict[str, float | int]] = {
    "freedrag": {"feature_block": 4, "supervision_radius": 12, "displacement": 8},
    "gooddrag": {"lr": 0.05, "feature_block": 4, "supervision_radius": 12, "displacement": 8},
}

Pair = tuple[tuple[float, float], tuple[float, float]]


@dataclass(frozen=True)
class DragTask:
    """A drag with a known answer.

    kind: one of KINDS. image, truth: (S, S, 3) uint8 RGB before, and as it should be afterwards. drags: ((x0, y0),
    (x1, y1)) pixel pairs. mask: (S, S) uint8, 255 where the image may change. offset: (dx, dy) pixels of what moves;
    (0, 0) for a rotation or a stretch, which have no common offset.
    """

    kind: str
    scene: Scene
    image: np.ndarray
    truth: np.ndarray
    drags: tuple[Pair, ...]
    mask: np.ndarray
    offset: tuple[float, float]


def drag_task(seed: int, kind: str = "move", size: int = 256, length: tuple[float, float] = (30, 60)) -> DragTask:
    """A single-object scene and a drag that keeps the object inside the image.

    length: shortest and longest way of a whole object in pixels at 256 px; parts go 0.4 times as far.
    """
    if kind not in KINDS:
        raise ValueError(f"`kind` is {kind!r}, but must be one of {KINDS}")
    scene = make_scene(seed, size, count=1, figures={"move": 0.3, "part": 1.0}.get(kind, 0.0))
    item = scene.objects[0]
    if kind in ("rotate", "stretch"):
        item = replace(item, centre=tuple(float(np.clip(c, 0.36 * size, 0.64 * size)) for c in item.centre))
        if item.shape == "circle" and kind == "rotate":
            item = replace(item, aspect=max(item.aspect, 1.4))  # a turned circle looks the same
        scene = replace(scene, objects=(item,))
    rng = np.random.default_rng([seed, 1])
    unit = size / 256
    offset = (0.0, 0.0)
    part = None
    if kind == "move":
        offset = _offset_inside(rng, item, size, length[0] * unit, length[1] * unit)
        at = _moving(item, offset)
    elif kind == "part":
        part = str(rng.choice(_PARTS[item.shape]))
        reach, angle = rng.uniform(length[0], length[1]) * unit / 2.5, rng.uniform(0, 2 * np.pi)
        offset = (float(round(reach * np.cos(angle))), float(round(reach * np.sin(angle))))
        at = _shifting(item, part, offset)
    elif kind == "rotate":
        turn = float(rng.choice((-1, 1)) * rng.uniform(0.6, 0.9))
        at = lambda share: replace(item, angle=item.angle + share * turn)  # noqa: E731
    else:
        longest = (size / 2 - 6) / item.radius
        factor = float(min(rng.uniform(1.35, 1.6), longest / item.aspect))
        at = lambda share: replace(item, aspect=item.aspect * (1 + share * (factor - 1)))  # noqa: E731
    image, after = render(scene), at(1.0)
    return DragTask(
        kind=kind,
        scene=scene,
        image=image,
        truth=render(replace(scene, objects=(after,))),
        drags=_pairs(image, item, after, kind, part, offset),
        mask=_room(at, size, part),
        offset=offset,
    )


def _moving(item: SceneObject, offset: tuple[float, float]) -> Callable[[float], SceneObject]:
    x, y = item.centre
    return lambda share: replace(item, centre=(x + share * offset[0], y + share * offset[1]))


def _shifting(item: SceneObject, part: str, offset: tuple[float, float]) -> Callable[[float], SceneObject]:
    """One part of a figure goes by `offset` pixels."""
    number = [p.name for p in FIGURES[item.shape]].index(part)
    u, v = to_local(item, item.centre[0] + offset[0], item.centre[1] + offset[1])

    def at(share: float) -> SceneObject:
        shifts = list(item.shifts)
        shifts[number] = (shifts[number][0] + share * float(u), shifts[number][1] + share * float(v))
        return replace(item, shifts=tuple(shifts))

    return at


def _offset_inside(
    rng: np.random.Generator, item: SceneObject, size: int, shortest: float, longest: float
) -> tuple[float, float]:
    margin = item.reach + 4
    offset = (0.0, 0.0)
    for _ in range(400):
        length, angle = rng.uniform(shortest, longest), rng.uniform(0, 2 * np.pi)
        offset = (float(round(length * np.cos(angle))), float(round(length * np.sin(angle))))
        end = np.add(item.centre, offset)
        if (end > margin).all() and (end < size - margin).all():
            break
    return offset


def _pairs(
    image: np.ndarray, item: SceneObject, after: SceneObject, kind: str, part: str | None, offset: tuple[float, float]
) -> tuple[Pair, ...]:
    if part is not None:
        rows, cols = np.nonzero(object_mask(item, image.shape[0], part))
        handles = [(float(round(cols.mean())), float(round(rows.mean())))]
    elif kind == "stretch":
        handles = [_edge_point(item, direction) for direction in (-1.0, 1.0)]
    else:
        handles = _distinctive_points(image, item)
        if kind == "rotate":  # the two farthest apart turn it best
            apart = [(np.hypot(*np.subtract(a, b)), a, b) for a in handles for b in handles]
            handles = list(max(apart)[1:]) if len(handles) > 1 else [_edge_point(item, d) for d in (-1.0, 1.0)]
    if kind in ("move", "part"):
        return tuple(((x, y), (x + offset[0], y + offset[1])) for x, y in handles)
    ends = [to_pixels(after, *to_local(item, x, y)) for x, y in handles]
    return tuple((handle, (float(round(x)), float(round(y)))) for handle, (x, y) in zip(handles, ends))


def _edge_point(item: SceneObject, direction: float) -> tuple[float, float]:
    """A pixel just inside the outline along the object's own x axis."""
    inside = object_mask(item, int(max(item.centre) + item.reach) + 8)
    for u in np.linspace(1.0, 0.2, 60):
        x, y = (round(float(c)) for c in to_pixels(item, direction * u, 0.0))
        if inside[y, x]:
            u = max(u - 4 / (item.radius * item.aspect), 0.1)
            x, y = to_pixels(item, direction * u, 0.0)
            return float(round(x)), float(round(y))
    return float(round(item.centre[0])), float(round(item.centre[1]))


def _distinctive_points(image: np.ndarray, item: SceneObject, count: int = 3) -> list[tuple[float, float]]:
    """Corners of the object's texture and outline; the inside of a flat patch gives a drag nothing to hold on to."""
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    inside = cv2.erode(object_mask(item, image.shape[0]).astype(np.uint8), np.ones((5, 5), np.uint8))
    found = cv2.goodFeaturesToTrack(gray, count, 0.01, item.radius * 0.7, mask=inside, blockSize=7)
    if found is None:
        return [(float(round(item.centre[0])), float(round(item.centre[1])))]
    return [(float(round(float(x))), float(round(float(y)))) for x, y in found.reshape(-1, 2)]


def _room(at: Callable[[float], SceneObject], size: int, part: str | None) -> np.ndarray:
    """The whole way of what moves, with a dozen pixels around."""
    mask = np.zeros((size, size), np.uint8)
    for share in np.linspace(0, 1, 13):
        mask[object_mask(at(float(share)), size, part)] = 255
    return cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (25, 25)))
