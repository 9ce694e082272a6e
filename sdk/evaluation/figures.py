"""What the toy box holds: eight figures of parts, their colours, sizes and grounds."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

RGB = tuple[int, int, int]

COLOURS: dict[str, RGB] = {
    "red": (214, 40, 40),
    "orange": (240, 130, 20),
    "yellow": (235, 205, 30),
    "green": (60, 165, 70),
    "blue": (50, 95, 215),
    "purple": (145, 60, 185),
}
GROUNDS: dict[str, RGB] = {
    "white": (236, 236, 232),
    "gray": (150, 150, 152),
    "beige": (214, 200, 172),
    "dark": (70, 72, 80),
}
# Paints that do not depend on a toy's colour.
PAINTS: dict[str, RGB] = {
    "ink": (40, 36, 44),
    "white": (245, 245, 240),
    "leaf": (70, 150, 70),
    "wood": (140, 95, 60),
    "beak": (245, 150, 40),
}
SIZES = {"small": (34.0, 44.0), "large": (50.0, 64.0)}  # least and largest radius, pixels
GROUPS = 4


class Part(NamedTuple):
    """A shape of a figure, in the figure's own coordinates: u to the right, v down, in radii.

    shape: see `drawing.distance`; (u, v): centre; (half_width, half_height); paint: "base", "dark" or "light" of the
    toy's colour, or one of PAINTS; group: parts of one group move together; group 0 stays where the figure is.
    """

    name: str
    shape: str
    u: float
    v: float
    half_width: float
    half_height: float
    paint: str
    group: int


FIGURES: dict[str, tuple[Part, ...]] = {
    "fish": (
        Part("tail", "triangle left", -0.72, 0, 0.34, 0.42, "dark", 1),
        Part("body", "disc", 0.08, 0, 0.72, 0.46, "base", 0),
        Part("fin", "triangle up", 0.05, -0.42, 0.26, 0.2, "dark", 2),
        Part("belly", "disc", 0.12, 0.2, 0.45, 0.16, "light", 0),
        Part("eye white", "disc", 0.48, -0.1, 0.15, 0.15, "white", 3),
        Part("eye", "disc", 0.51, -0.1, 0.075, 0.075, "ink", 3),
    ),
    "duck": (
        Part("body", "disc", -0.1, 0.3, 0.68, 0.42, "base", 0),
        Part("tail", "triangle up", -0.68, 0.08, 0.18, 0.24, "base", 0),
        Part("wing", "disc", -0.18, 0.28, 0.34, 0.2, "dark", 2),
        Part("head", "disc", 0.42, -0.36, 0.33, 0.33, "base", 1),
        Part("beak", "disc", 0.8, -0.28, 0.22, 0.1, "beak", 1),
        Part("eye white", "disc", 0.5, -0.45, 0.12, 0.12, "white", 1),
        Part("eye", "disc", 0.53, -0.45, 0.06, 0.06, "ink", 1),
    ),
    "cat": (
        Part("left ear", "triangle up", -0.5, -0.58, 0.27, 0.36, "base", 1),
        Part("right ear", "triangle up", 0.5, -0.58, 0.27, 0.36, "base", 1),
        Part("head", "disc", 0, 0.1, 0.82, 0.72, "base", 0),
        Part("left eye", "disc", -0.32, 0, 0.14, 0.17, "white", 3),
        Part("right eye", "disc", 0.32, 0, 0.14, 0.17, "white", 3),
        Part("left pupil", "disc", -0.32, 0.02, 0.07, 0.1, "ink", 3),
        Part("right pupil", "disc", 0.32, 0.02, 0.07, 0.1, "ink", 3),
        Part("muzzle", "disc", 0, 0.42, 0.3, 0.2, "light", 2),
        Part("nose", "disc", 0, 0.34, 0.09, 0.06, "ink", 2),
    ),
    "house": (
        Part("chimney", "box", 0.38, -0.62, 0.12, 0.26, "wood", 1),
        Part("roof", "triangle up", 0, -0.45, 0.98, 0.45, "dark", 0),
        Part("wall", "box", 0, 0.38, 0.72, 0.45, "base", 0),
        Part("door", "box", -0.3, 0.5, 0.18, 0.33, "wood", 2),
        Part("window", "box", 0.32, 0.26, 0.2, 0.18, "white", 3),
    ),
    "car": (
        Part("cabin", "box", -0.05, -0.34, 0.5, 0.28, "light", 1),
        Part("body", "box", 0, 0.1, 0.98, 0.3, "base", 0),
        Part("rear wheel", "disc", -0.52, 0.42, 0.27, 0.27, "ink", 2),
        Part("front wheel", "disc", 0.52, 0.42, 0.27, 0.27, "ink", 3),
        Part("rear hub", "disc", -0.52, 0.42, 0.11, 0.11, "white", 2),
        Part("front hub", "disc", 0.52, 0.42, 0.11, 0.11, "white", 3),
        Part("lamp", "disc", 0.86, 0.02, 0.09, 0.09, "white", 0),
    ),
    "flower": (
        Part("stem", "box", 0, 0.45, 0.07, 0.52, "leaf", 0),
        Part("leaf", "disc", 0.32, 0.55, 0.3, 0.13, "leaf", 2),
        Part("bloom", "star", 0, -0.35, 0.62, 0.62, "base", 1),
        Part("heart", "disc", 0, -0.35, 0.22, 0.22, "light", 1),
    ),
    "mushroom": (
        Part("stem", "box", 0, 0.48, 0.26, 0.46, "white", 0),
        Part("cap", "dome", 0, 0.08, 0.92, 0.78, "base", 1),
        Part("left dot", "disc", -0.42, -0.2, 0.15, 0.13, "white", 1),
        Part("mid dot", "disc", 0.05, -0.42, 0.17, 0.13, "white", 1),
        Part("right dot", "disc", 0.46, -0.14, 0.14, 0.12, "white", 1),
        Part("left eye", "disc", -0.1, 0.42, 0.05, 0.08, "ink", 0),
        Part("right eye", "disc", 0.1, 0.42, 0.05, 0.08, "ink", 0),
    ),
    "boat": (
        Part("mast", "box", 0, -0.25, 0.05, 0.6, "wood", 0),
        Part("sail", "triangle up", 0.36, -0.26, 0.3, 0.52, "white", 1),
        Part("hull", "bowl", 0, 0.3, 0.95, 0.55, "base", 0),
        Part("stripe", "box", 0, 0.4, 0.7, 0.05, "light", 0),
    ),
}
# What group 1 is called where a caption tells its place, and the pieces of it that a drag takes hold of.
MOVABLE = {
    "fish": "tail",
    "duck": "head",
    "cat": "ears",
    "house": "chimney",
    "car": "cabin",
    "flower": "bloom",
    "mushroom": "cap",
    "boat": "sail",
}


def movable_parts(figure: str) -> tuple[str, ...]:
    """Names of the parts that move together as the figure's group 1."""
    return tuple(part.name for part in FIGURES[figure] if part.group == 1)


def tint(colour: str, paint: str) -> np.ndarray:
    """(3,) float32 RGB, 0 to 255: what a paint is on a toy of that colour."""
    base, white = np.array(COLOURS[colour], np.float32), np.array(PAINTS["white"], np.float32)
    mixed = {"base": base, "dark": base * 0.62, "light": base * 0.35 + white * 0.65}
    return mixed[paint] if paint in mixed else np.array(PAINTS[paint], np.float32)
