"""Scenes of the toy box: cartoon figures on a plain ground, as parameters only. Equal seeds give equal scenes.

Every coordinate is known, so a drag on such a scene has a known answer; captions tell as much of it as is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .figures import COLOURS, FIGURES, GROUNDS, GROUPS, MOVABLE, SIZES

FIRST_UNSEEN_SEED = 2_000_000  # no training sees a scene from here on
CLOSE_SIZE = 128  # side of a close scene, pixels
CLOSE_FROM = 1_000_000
# How toys stand, drawn evenly between minus and plus of these: shifts of a group of parts (radii), angle (radians),
# logarithm of the aspect.
SHIFT, TILT, STRETCH = (0.12, 0.2), 0.45, 0.3
_GAP = 8  # two toys may come so much nearer to each other than their reaches, pixels


@dataclass(frozen=True)
class Toy:
    """A figure in a scene. (x, y) pixels; radius: pixels; angle: radians, clockwise as seen; aspect: above 1 is wider
    than tall; shifts: of the groups of parts, (du, dv) in radii each.
    """

    figure: str
    colour: str
    size: str
    centre: tuple[float, float]
    radius: float
    angle: float
    aspect: float
    shifts: tuple[tuple[float, float], ...]

    @property
    def reach(self) -> float:
        """Pixels from the centre that no part goes beyond."""
        return self.radius * 1.2 * max(self.aspect, 1 / self.aspect) ** 0.5 + 3

    def describe(self, pose: bool = False) -> str:
        """ "a small tall red cat with raised ears tilted left"; without `pose` only size, colour and figure."""
        words = ["a", self.size]
        if pose and abs(np.log(self.aspect)) > 0.12:
            words.append("wide" if self.aspect > 1 else "tall")
        words += [self.colour, self.figure]
        if pose and abs(self.shifts[1][1]) > 0.07:
            words += ["with", "lowered" if self.shifts[1][1] > 0 else "raised", MOVABLE[self.figure]]
        if pose and abs(self.angle) > 0.15:
            words += ["tilted", "right" if self.angle > 0 else "left"]
        return " ".join(words)

    def to_local(self, x: Any, y: Any) -> tuple[Any, Any]:
        """Pixels to the figure's own (u, v); numbers or arrays."""
        dx, dy = (x - self.centre[0]) / self.radius, (y - self.centre[1]) / self.radius
        cos, sin, root = np.cos(self.angle), np.sin(self.angle), self.aspect**0.5
        return (dx * cos + dy * sin) / root, (dy * cos - dx * sin) * root

    def to_pixels(self, u: Any, v: Any) -> tuple[Any, Any]:
        """The figure's own (u, v) to pixels; numbers or arrays."""
        cos, sin, root = np.cos(self.angle), np.sin(self.angle), self.aspect**0.5
        u, v = u * root, v / root
        x, y = self.centre
        return x + self.radius * (u * cos - v * sin), y + self.radius * (u * sin + v * cos)


@dataclass(frozen=True)
class Scene:
    """One or two toys on a ground, `size` pixels square. seed: what it was made from, also of the ground's shading."""

    seed: int
    size: int
    ground: str
    toys: tuple[Toy, ...]

    def describe(self, pose: bool = False, places: bool = False) -> str:
        """The caption; `pose`: how the toys stand; `places`: where."""
        parts = []
        for toy in self.toys:
            parts.append(toy.describe(pose) + (self._place(toy) if places else ""))
        return " and ".join(parts) + f" on a {self.ground} background"

    def _place(self, toy: Toy) -> str:
        x, y = (c / self.size - 0.5 for c in toy.centre)
        if max(abs(x), abs(y)) < 0.14:
            return " in the middle"
        if abs(x) >= abs(y):
            return " on the left" if x < 0 else " on the right"
        return " at the top" if y < 0 else " at the bottom"

    @property
    def shading(self) -> tuple[float, float]:
        """Direction (radians) and strength (grey levels over the picture's width) of the ground's shading."""
        rng = np.random.default_rng([self.seed, 2])
        return float(rng.uniform(0, 2 * np.pi)), float(rng.uniform(4, 14))


def make_scene(seed: int, size: int = 256, count: int | None = None, sizes: tuple[str, ...] = tuple(SIZES)) -> Scene:
    """The scene of a seed. count: toys in it, None for one (60 %) or two; sizes: out of which to draw theirs."""
    rng = np.random.default_rng(seed)
    count = count or (1 if rng.random() < 0.6 else 2)
    toys: list[Toy] = []
    for _ in range(40):
        if len(toys) == count:
            break
        toy = _draw_toy(rng, sizes)
        margin = min(toy.reach, size / 2 - 0.01)
        x, y = (float(v) for v in rng.uniform(margin, size - margin, 2))
        toy = replace(toy, centre=(x, y))
        if all(np.hypot(*np.subtract(toy.centre, o.centre)) >= toy.reach + o.reach - _GAP for o in toys):
            toys.append(toy)
    return Scene(seed, size, tuple(GROUNDS)[rng.integers(len(GROUNDS))], tuple(toys))


def make_close_scene(seed: int) -> Scene:
    """A single small toy in a picture half as wide: a quarter of the work for a network that learns from it."""
    return make_scene(seed + CLOSE_FROM, CLOSE_SIZE, 1, ("small",))


def _draw_toy(rng: np.random.Generator, sizes: tuple[str, ...]) -> Toy:
    figure, colour, size = (table[rng.integers(len(table))] for table in (tuple(FIGURES), tuple(COLOURS), sizes))
    shifts = draw_shifts(rng)
    return Toy(
        figure,
        colour,
        size,
        centre=(0.0, 0.0),
        radius=float(rng.uniform(*SIZES[size])),
        shifts=shifts,
        **draw_pose(rng),
    )


def draw_shifts(rng: np.random.Generator) -> tuple[tuple[float, float], ...]:
    """Of a toy's groups of parts; the first, which is the body, stays."""
    shifts = rng.uniform(-1, 1, (GROUPS, 2)) * SHIFT
    shifts[0] = 0
    return tuple((float(du), float(dv)) for du, dv in shifts)


def draw_pose(rng: np.random.Generator) -> dict[str, float]:
    """Angle and aspect of a toy."""
    return {"angle": float(rng.uniform(-TILT, TILT)), "aspect": float(np.exp(rng.uniform(-STRETCH, STRETCH)))}
