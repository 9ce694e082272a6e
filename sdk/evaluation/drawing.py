"""Scenes as pictures and masks, one at a time, with numpy. `batches.py` draws many at once, to the same pixels."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np

from .figures import FIGURES, GROUNDS, Part, tint
from .scenes import Scene, Toy

OUTLINE = 2.4  # width of a part's dark outline, pixels
OUTLINE_SHADE = 0.45  # its brightness over the part's
SHADE = 0.10  # how much darker the bottom of a coloured part is than its middle


def distance(part: Part, u: Any, v: Any, lib: Any = np) -> Any:
    """Signed distance, roughly, in radii, of points to the outline of a part; negative inside.

    u, v: the points in the part's half sizes from its centre. lib: numpy, or what has torch's functions of these names.
    """
    width, height = part.half_width, part.half_height
    small = min(width, height)
    if part.shape == "disc":
        return (lib.hypot(u, v) - 1) * small
    if part.shape == "box":
        return lib.maximum((abs(u) - 1) * width, (abs(v) - 1) * height)
    if part.shape == "triangle up":
        return lib.maximum(v - 1, (abs(u) * 2 - (v + 1)) / 2.236) * small
    if part.shape == "triangle left":
        return lib.maximum(-u - 1, (abs(v) * 2 - (1 - u)) / 2.236) * small
    if part.shape == "dome":
        return lib.maximum((lib.hypot(u, v) - 1) * small, v * height)
    if part.shape == "bowl":
        return lib.maximum((lib.hypot(u, v) - 1) * small, -v * height)
    petal = 2 * np.pi / 5  # a star
    wave = abs(((lib.arctan2(v, u) + np.pi / 2) % petal) / petal * 2 - 1)
    return (lib.hypot(u, v) - (0.55 + 0.45 * wave)) * small * 0.7


def is_shaded(part: Part) -> bool:
    """Whether a part is darker at its bottom: what is painted in the toy's own colour."""
    return part.paint in ("base", "dark")


def draw_ground(scene: Scene) -> np.ndarray:
    """(S, S, 3) float32, 0 to 255: the scene without its toys."""
    y, x = np.mgrid[: scene.size, : scene.size].astype(np.float32) / scene.size
    way, strength = scene.shading
    return np.array(GROUNDS[scene.ground], np.float32) + (strength * (np.cos(way) * x + np.sin(way) * y))[..., None]


def draw_toy(image: np.ndarray, toy: Toy) -> np.ndarray:
    """Draw a toy onto (S, S, 3) float32 in place. Returns the (S, S) bool mask of it."""
    mask = np.zeros(image.shape[:2], bool)
    for part, away, v in _parts(toy, image.shape[0]):
        flat = tint(toy.colour, part.paint)
        shade = (1 - SHADE * np.clip(v, -1, 1))[..., None] if is_shaded(part) else 1.0
        image += (flat * OUTLINE_SHADE - image) * np.clip(0.5 - away, 0, 1)[..., None]
        image += (np.clip(flat * shade, 0, 255) - image) * np.clip(0.5 - (away + OUTLINE), 0, 1)[..., None]
        mask |= away < 0
    return mask


def _parts(toy: Toy, size: int) -> Iterator[tuple[Part, np.ndarray, np.ndarray]]:
    """The parts as they are drawn, in turn: each with (S, S) pixels from its outline, and the figure's v."""
    y, x = np.mgrid[:size, :size].astype(np.float32)
    u, v = toy.to_local(x, y)
    for part in FIGURES[toy.figure]:
        du, dv = toy.shifts[part.group]
        inside_u, inside_v = (u - part.u - du) / part.half_width, (v - part.v - dv) / part.half_height
        yield part, distance(part, inside_u, inside_v) * toy.radius, v


def draw_scene(scene: Scene) -> np.ndarray:
    """(S, S, 3) uint8 RGB."""
    image = draw_ground(scene)
    for toy in scene.toys:
        draw_toy(image, toy)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def toy_mask(scene: Scene, number: int = 0, only: Collection[str] | None = None) -> np.ndarray:
    """(S, S) bool: the scene's toy of that number, or what is seen of its parts named `only`, on its own."""
    mask = np.zeros((scene.size, scene.size), bool)
    for part, away, _ in _parts(scene.toys[number], scene.size):
        if only is None or part.name in only:
            mask |= away < 0
        else:
            mask &= ~(away < 0)
    return mask
