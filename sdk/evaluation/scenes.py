"""Captioned scenes of textured shapes and simple figures whose every coordinate is known: what the embedded model is
trained on, and what drags with a true answer are made from (`tasks.py`).

Everything follows from a seed. Training draws from seeds below `FIRST_EVALUATION_SEED` and never sees the colour and
shape pairs of `HELD_OUT`; measurements draw from the seeds from there on and from all pairs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FIRST_EVALUATION_SEED = 1_000_000

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 40, 40),
    "orange": (240, 130, 20),
    "yellow": (235, 205, 30),
    "green": (40, 160, 60),
    "blue": (40, 80, 210),
    "purple": (140, 50, 180),
}
BACKGROUNDS: dict[str, tuple[int, int, int]] = {
    "white": (236, 236, 232),
    "gray": (150, 150, 152),
    "beige": (214, 200, 172),
    "dark": (64, 66, 72),
}
SHAPES = ("circle", "square", "triangle", "star")
TEXTURES = ("striped", "dotted", "checked", "ringed", "shaded", "outlined")
SIZES: dict[str, tuple[float, float]] = {"small": (26, 34), "large": (38, 50)}
HELD_OUT = frozenset({("purple", "triangle"), ("green", "circle"), ("orange", "star"), ("blue", "face")})

_LEAF, _INK = np.array((60, 140, 60), np.float32), np.array((40, 36, 44), np.float32)


@dataclass(frozen=True)
class Part:
    """A piece of a figure. centre, size (half axes): units of the figure's radius, y down.

    kind: "disc", "box", "smile" or "star"; paint: "base" and "light" follow the figure's colour, "ink", "leaf" do not.
    """

    name: str
    kind: str
    centre: tuple[float, float]
    size: tuple[float, float]
    paint: str


FIGURES: dict[str, tuple[Part, ...]] = {
    "face": (
        Part("head", "disc", (0, 0), (0.95, 0.95), "base"),
        Part("left eye", "disc", (-0.36, -0.22), (0.15, 0.15), "ink"),
        Part("right eye", "disc", (0.36, -0.22), (0.15, 0.15), "ink"),
        Part("mouth", "smile", (0, 0.3), (0.5, 0.32), "ink"),
    ),
    "car": (
        Part("cabin", "box", (-0.05, -0.32), (0.52, 0.3), "light"),
        Part("body", "box", (0, 0.12), (0.98, 0.32), "base"),
        Part("rear wheel", "disc", (-0.52, 0.46), (0.26, 0.26), "ink"),
        Part("front wheel", "disc", (0.52, 0.46), (0.26, 0.26), "ink"),
    ),
    "flower": (
        Part("stem", "box", (0, 0.45), (0.08, 0.52), "leaf"),
        Part("leaf", "disc", (0.34, 0.58), (0.32, 0.13), "leaf"),
        Part("bloom", "star", (0, -0.35), (0.64, 0.64), "base"),
        Part("heart", "disc", (0, -0.35), (0.2, 0.2), "light"),
    ),
}


@dataclass(frozen=True)
class SceneObject:
    """One shape or figure. centre: (x, y) pixels; radius: pixels; angle: radians.

    texture: one of TEXTURES, "" for a figure. tone: second colour, "white" or "dark". aspect: length along the object's
    own x axis over that along its y axis. shifts: per part of a figure, its offset in units of the radius.
    """

    shape: str
    colour: str
    texture: str
    size: str
    tone: str
    centre: tuple[float, float]
    radius: float
    angle: float
    aspect: float = 1.0
    shifts: tuple[tuple[float, float], ...] = ()

    @property
    def rgb(self) -> tuple[int, int, int]:
        return COLOURS[self.colour]

    @property
    def words(self) -> str:
        return " ".join(word for word in ("a", self.size, self.texture, self.colour, self.shape) if word)

    @property
    def reach(self) -> float:
        """Pixels from the centre to the farthest point."""
        return self.radius * max(self.aspect, 1.0)


@dataclass(frozen=True)
class Scene:
    """A description that `render` turns into pixels. size: side in pixels; seed fixes the background's texture.

    Later objects lie over earlier ones.
    """

    seed: int
    size: int
    background: str
    objects: tuple[SceneObject, ...]

    @property
    def caption(self) -> str:
        return self.describe(places=False)

    def describe(self, places: bool) -> str:
        """The caption; with `places`, each object's position word too."""
        words = []
        for item in self.objects:
            where = _place(item.centre[0] / self.size, item.centre[1] / self.size)
            words.append(f"{item.words} {where}" if places else item.words)
        return " and ".join(words) + f" on a {self.background} background"


def _place(x: float, y: float) -> str:
    if max(abs(x - 0.5), abs(y - 0.5)) < 0.14:
        return "in the middle"
    if abs(x - 0.5) >= abs(y - 0.5):
        return "on the left" if x < 0.5 else "on the right"
    return "at the top" if y < 0.5 else "at the bottom"


def make_scene(
    seed: int, size: int = 256, count: int | None = None, figures: float = 0.3, overlap: bool = False
) -> Scene:
    """Draw up a scene of `count` objects (one, two or three by default), apart unless `overlap`.

    figures: share of faces, cars and flowers among the objects.
    """
    rng = np.random.default_rng(seed)
    wanted = count or int(rng.choice([1, 2, 3], p=[0.6, 0.3, 0.1]))
    # Now and then one object hides part of another.
    gap = -24.0 if overlap or (count is None and rng.random() < 0.2) else 8.0
    objects: list[SceneObject] = []
    for _ in range(20 * wanted):
        if len(objects) == wanted:
            break
        item = _make_object(rng, size, figures, unseen=seed >= FIRST_EVALUATION_SEED)
        if all(np.hypot(*np.subtract(item.centre, o.centre)) >= item.reach + o.reach + gap for o in objects):
            objects.append(item)
    return Scene(seed, size, str(rng.choice(list(BACKGROUNDS))), tuple(objects))


def _make_object(rng: np.random.Generator, size: int, figures: float, unseen: bool) -> SceneObject:
    is_figure = rng.random() < figures
    colour, shape = "", ""
    while not colour or (not unseen and (colour, shape) in HELD_OUT):
        colour = str(rng.choice(list(COLOURS)))
        shape = str(rng.choice(list(FIGURES) if is_figure else SHAPES))
    size_word = str(rng.choice(list(SIZES)))
    radius = float(rng.uniform(*SIZES[size_word]))
    shifts: tuple[tuple[float, float], ...] = ()
    aspect, angle, texture = 1.0, float(rng.uniform(0, 2 * np.pi)), str(rng.choice(TEXTURES))
    if is_figure:
        radius, angle, texture = radius * 1.25, float(rng.uniform(-0.2, 0.2)), ""
        shifts = tuple((float(x), float(y)) for x, y in rng.uniform(-0.1, 0.1, (len(FIGURES[shape]), 2)))
    elif rng.random() < 0.3:
        aspect = float(rng.uniform(1.1, 1.6))
    margin = radius * aspect + 6
    x, y = (float(v) for v in rng.uniform(margin, size - margin, 2))
    tone = str(rng.choice(("white", "dark")))
    return SceneObject(shape, colour, texture, size_word, tone, (x, y), radius, angle, aspect, shifts)


def render(scene: Scene) -> np.ndarray:
    """(size, size, 3) uint8 RGB."""
    image = _background(scene)
    for item in scene.objects:
        _paint(image, item)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def object_mask(item: SceneObject, size: int, part: str | None = None) -> np.ndarray:
    """(size, size) bool, true on the object, or on one named part of a figure."""
    y, x = np.mgrid[:size, :size].astype(np.float32)
    u, v = to_local(item, x, y)
    if item.shape not in FIGURES:
        return _shape_distance(item.shape, u, v) < 0
    distances = [d for p, d in _part_distances(item, u, v) if part in (None, p.name)]
    return np.min(distances, axis=0) < 0


def to_local(item: SceneObject, x, y):
    """Pixels to the object's own axes, in units of its radius (of `aspect` radii along its x axis)."""
    dx, dy = (x - item.centre[0]) / item.radius, (y - item.centre[1]) / item.radius
    cos, sin = np.cos(item.angle), np.sin(item.angle)
    return (dx * cos + dy * sin) / item.aspect, dy * cos - dx * sin


def to_pixels(item: SceneObject, u, v):
    """The inverse of `to_local`."""
    u = u * item.aspect
    cos, sin = np.cos(item.angle), np.sin(item.angle)
    return item.centre[0] + item.radius * (u * cos - v * sin), item.centre[1] + item.radius * (u * sin + v * cos)


def _background(scene: Scene) -> np.ndarray:
    """Float (size, size, 3): a base colour, a soft gradient and broad, faint waves."""
    rng = np.random.default_rng([scene.seed, 2])
    y, x = np.mgrid[: scene.size, : scene.size].astype(np.float32) / scene.size
    angle, tilt = rng.uniform(0, 2 * np.pi), rng.uniform(5, 18)
    shade = tilt * (np.cos(angle) * x + np.sin(angle) * y)
    for _ in range(2):
        fx, fy = rng.uniform(-3, 3, 2)
        shade = shade + rng.uniform(2, 5) * np.sin(2 * np.pi * (fx * x + fy * y) + rng.uniform(0, 6.28))
    return np.array(BACKGROUNDS[scene.background], np.float32) + shade[..., None]


def _paint(image: np.ndarray, item: SceneObject) -> None:
    size = image.shape[0]
    reach = item.reach * 1.2 + 3
    x0, y0 = (int(max(0, np.floor(c - reach))) for c in item.centre)
    x1, y1 = (int(min(size, np.ceil(c + reach) + 1)) for c in item.centre)
    if x0 >= x1 or y0 >= y1:
        return
    y, x = np.mgrid[y0:y1, x0:x1].astype(np.float32)
    u, v = to_local(item, x, y)
    patch = image[y0:y1, x0:x1]
    base = np.array(item.rgb, np.float32)
    if item.shape in FIGURES:
        paints = {"base": base, "light": 0.35 * base + 0.65 * 255, "ink": _INK, "leaf": _LEAF}
        for part, distance in _part_distances(item, u, v):
            _cover(patch, distance * item.radius, paints[part.paint])
        return
    distance = _shape_distance(item.shape, u, v) * item.radius  # pixels
    second = base * 0.4 if item.tone == "dark" else 0.25 * base + 0.75 * 255
    pattern = _pattern(item, u, v, distance)[..., None]
    rim = np.clip(distance + 4.0, 0, 1)[..., None]  # a darker rim three pixels wide
    colour = base * (1 - pattern) + second * pattern
    _cover(patch, distance, colour * (1 - rim) + base * 0.55 * rim)


def _cover(patch: np.ndarray, distance: np.ndarray, colour: np.ndarray) -> None:
    """Paint where the signed distance (pixels) is negative, with an edge one pixel soft."""
    cover = np.clip(0.5 - distance, 0, 1)[..., None]
    patch += (colour - patch) * cover


def _part_distances(item: SceneObject, u: np.ndarray, v: np.ndarray) -> list[tuple[Part, np.ndarray]]:
    found = []
    shifts = item.shifts or ((0.0, 0.0),) * len(FIGURES[item.shape])
    for part, (du, dv) in zip(FIGURES[item.shape], shifts):
        (cu, cv), (su, sv) = part.centre, part.size
        pu, pv = (u - cu - du) / su, (v - cv - dv) / sv
        small = min(su, sv)
        if part.kind == "box":
            distance = np.maximum((np.abs(pu) - 1) * su, (np.abs(pv) - 1) * sv)
        elif part.kind == "star":
            distance = _shape_distance("star", pu, pv) * small
        elif part.kind == "smile":
            bowl = (np.hypot(pu, pv) - 1) * small
            distance = np.maximum(bowl, (1 - np.hypot(pu * 0.9, pv + 0.7)) * small)
        else:
            distance = (np.hypot(pu, pv) - 1) * small
        found.append((part, distance))
    return found


def _shape_distance(shape: str, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Roughly the signed distance to the outline in units of the radius, negative inside."""
    if shape == "circle":
        return np.hypot(u, v) - 0.95
    if shape == "square":
        return np.maximum(np.abs(u), np.abs(v)) - 0.75
    if shape == "triangle":
        return np.maximum(np.maximum(v, 0.866 * u - 0.5 * v), -0.866 * u - 0.5 * v) - 0.5
    period = 2 * np.pi / 5
    wedge = np.abs((np.arctan2(v, u) % period) / period * 2 - 1)
    return (np.hypot(u, v) - (0.5 + 0.5 * wedge)) * 0.7


def _pattern(item: SceneObject, u: np.ndarray, v: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """Share of the second colour, 0..1, with edges about a pixel soft. distance: pixels to the outline."""
    sharp = item.radius / 6
    if item.texture == "shaded":
        return np.clip(0.5 + 0.55 * u, 0, 1)
    if item.texture == "outlined":
        return np.clip(-distance - 0.22 * item.radius, 0, 1)
    if item.texture == "striped":
        wave = np.sin(u * 7.0)
    elif item.texture == "dotted":
        wave = np.sin(u * 7.0) * np.sin(v * 7.0) * 2 - 0.7
    elif item.texture == "checked":
        wave = np.sin(u * 5.0) * np.sin(v * 5.0) * 2
    else:
        wave = np.sin(np.hypot(u, v) * 9.0 - 1.0)
    return np.clip(0.5 + wave * sharp, 0, 1)
