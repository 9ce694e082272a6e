"""Captioned scenes of textured shapes whose every coordinate is known: training data, and drags with a true answer.

Everything follows from a seed. Training draws from seeds below `FIRST_EVALUATION_SEED`, measurements from there on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
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
SHAPES = ("circle", "square", "triangle", "flower")
TEXTURES = ("striped", "dotted", "checked", "ringed")
SIZES: dict[str, tuple[float, float]] = {"small": (26, 34), "large": (38, 50)}

# The published step sizes are tuned to Stable Diffusion 1.5; these suit the embedded model (see training/README.md).
DEMO_SETTINGS: dict[str, float | int] = {"lr": 0.08, "steps": 40, "strength": 0.7, "lora_steps": 0}


@dataclass(frozen=True)
class SceneObject:
    """One shape. centre: (x, y) pixels; radius: pixels; angle: radians; tone: second colour, "white" or "dark"."""

    shape: str
    colour: str
    texture: str
    size: str
    tone: str
    centre: tuple[float, float]
    radius: float
    angle: float

    @property
    def rgb(self) -> tuple[int, int, int]:
        return COLOURS[self.colour]

    @property
    def words(self) -> str:
        return f"a {self.size} {self.texture} {self.colour} {self.shape}"


@dataclass(frozen=True)
class Scene:
    """A description that `render` turns into pixels. size: side in pixels; seed fixes the background's texture."""

    seed: int
    size: int
    background: str
    objects: tuple[SceneObject, ...]

    @property
    def caption(self) -> str:
        return " and ".join(o.words for o in self.objects) + f" on a {self.background} background"


@dataclass(frozen=True)
class DragTask:
    """A single-object drag with a known answer.

    image, truth: (S, S, 3) uint8 RGB before, and with the object where it should end. drags: ((x0, y0), (x1, y1)) pixel
    pairs, all with the same offset. mask: (S, S) uint8, 255 where the image may change. offset: (dx, dy) pixels.
    """

    scene: Scene
    image: np.ndarray
    truth: np.ndarray
    drags: tuple[tuple[tuple[float, float], tuple[float, float]], ...]
    mask: np.ndarray
    offset: tuple[float, float]


def make_scene(seed: int, size: int = 256, count: int | None = None) -> Scene:
    """Draw up a scene of `count` objects (one or, now and then, two) that do not touch."""
    rng = np.random.default_rng(seed)
    wanted = count or (2 if rng.random() < 0.25 else 1)
    objects: list[SceneObject] = []
    for _ in range(20 * wanted):
        if len(objects) == wanted:
            break
        size_word = str(rng.choice(list(SIZES)))
        radius = float(rng.uniform(*SIZES[size_word]))
        centre = tuple(float(v) for v in rng.uniform(radius + 6, size - radius - 6, 2))
        if any(np.hypot(*np.subtract(centre, o.centre)) < radius + o.radius + 8 for o in objects):
            continue
        objects.append(
            SceneObject(
                str(rng.choice(SHAPES)),
                str(rng.choice(list(COLOURS))),
                str(rng.choice(TEXTURES)),
                size_word,
                str(rng.choice(("white", "dark"))),
                centre,
                radius,
                float(rng.uniform(0, 2 * np.pi)),
            )
        )
    return Scene(seed, size, str(rng.choice(list(BACKGROUNDS))), tuple(objects))


def render(scene: Scene) -> np.ndarray:
    """(size, size, 3) uint8 RGB."""
    image = _background(scene)
    for item in scene.objects:
        _paint(image, item)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def object_mask(item: SceneObject, size: int) -> np.ndarray:
    """(size, size) bool, true on the object."""
    y, x = np.mgrid[:size, :size].astype(np.float32)
    return _distance(item, *_local(item, x, y)) < 0


def drag_task(seed: int, size: int = 256) -> DragTask:
    """A single-object scene and a drag of 30 to 60 px (at 256 px) that keeps the object inside the image."""
    scene = make_scene(seed, size, count=1)
    item = scene.objects[0]
    rng = np.random.default_rng([seed, 1])
    margin = item.radius + 4
    offset = (0.0, 0.0)
    for _ in range(200):
        length, angle = rng.uniform(30, 60) * size / 256, rng.uniform(0, 2 * np.pi)
        offset = (float(round(length * np.cos(angle))), float(round(length * np.sin(angle))))
        end = np.add(item.centre, offset)
        if (end > margin).all() and (end < size - margin).all():
            break
    moved = replace(item, centre=(item.centre[0] + offset[0], item.centre[1] + offset[1]))
    image = render(scene)
    handles = _distinctive_points(image, item)
    # Room around the object and its whole path: a dozen pixels.
    mask = np.zeros((size, size), np.uint8)
    for share in np.linspace(0, 1, 13):
        between = replace(item, centre=(item.centre[0] + share * offset[0], item.centre[1] + share * offset[1]))
        mask[object_mask(between, size)] = 255
    mask = cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (25, 25)))
    return DragTask(
        scene=scene,
        image=image,
        truth=render(replace(scene, objects=(moved,))),
        drags=tuple(((x, y), (x + offset[0], y + offset[1])) for x, y in handles),
        mask=mask,
        offset=offset,
    )


def _distinctive_points(image: np.ndarray, item: SceneObject, count: int = 3) -> list[tuple[float, float]]:
    """Corners of the object's texture and outline; the inside of a flat patch gives a drag nothing to hold on to."""
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    inside = cv2.erode(object_mask(item, image.shape[0]).astype(np.uint8), np.ones((5, 5), np.uint8))
    found = cv2.goodFeaturesToTrack(gray, count, 0.01, item.radius * 0.7, mask=inside, blockSize=7)
    if found is None:
        return [(float(round(item.centre[0])), float(round(item.centre[1])))]
    return [(float(round(float(x))), float(round(float(y)))) for x, y in found.reshape(-1, 2)]


def _background(scene: Scene) -> np.ndarray:
    """Float (size, size, 3): a base colour, a soft gradient and broad, faint waves."""
    rng = np.random.default_rng([scene.seed, 2])
    y, x = np.mgrid[: scene.size, : scene.size].astype(np.float32) / scene.size
    angle, tilt = rng.uniform(0, 2 * np.pi), rng.uniform(5, 18)
    shade = tilt * (np.cos(angle) * x + np.sin(angle) * y)
    for _ in range(2):
        fx, fy = rng.uniform(-3, 3, 2)
        shade = shade + rng.uniform(2, 5) * np.sin(2 * np.pi * (fx * x + fy * y) + rng.uniform(0, 6.28))
    return np.float32(BACKGROUNDS[scene.background]) + shade[..., None]


def _paint(image: np.ndarray, item: SceneObject) -> None:
    size = image.shape[0]
    reach = item.radius + 3
    x0, y0 = (int(max(0, np.floor(c - reach))) for c in item.centre)
    x1, y1 = (int(min(size, np.ceil(c + reach) + 1)) for c in item.centre)
    if x0 >= x1 or y0 >= y1:
        return
    y, x = np.mgrid[y0:y1, x0:x1].astype(np.float32)
    u, v = _local(item, x, y)
    distance = _distance(item, u, v) * item.radius  # pixels
    base = np.float32(item.rgb)
    second = base * 0.4 if item.tone == "dark" else 0.25 * base + 0.75 * 255
    pattern = _pattern(item, u, v)[..., None]
    colour = base * (1 - pattern) + second * pattern
    outline = np.clip(distance + 4.0, 0, 1)[..., None]  # a darker rim three pixels wide
    colour = colour * (1 - outline) + base * 0.55 * outline
    cover = np.clip(0.5 - distance, 0, 1)[..., None]
    image[y0:y1, x0:x1] = image[y0:y1, x0:x1] * (1 - cover) + colour * cover


def _local(item: SceneObject, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels to the object's own axes, in units of its radius."""
    dx, dy = (x - item.centre[0]) / item.radius, (y - item.centre[1]) / item.radius
    cos, sin = np.cos(item.angle), np.sin(item.angle)
    return dx * cos + dy * sin, dy * cos - dx * sin


def _distance(item: SceneObject, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Roughly the signed distance to the outline in units of the radius, negative inside."""
    if item.shape == "circle":
        return np.hypot(u, v) - 0.95
    if item.shape == "square":
        return np.maximum(np.abs(u), np.abs(v)) - 0.75
    if item.shape == "triangle":
        return np.maximum(np.maximum(v, 0.866 * u - 0.5 * v), -0.866 * u - 0.5 * v) - 0.5
    period = 2 * np.pi / 5
    wedge = np.abs((np.arctan2(v, u) % period) / period * 2 - 1)
    return (np.hypot(u, v) - (0.5 + 0.5 * wedge)) * 0.7


def _pattern(item: SceneObject, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Share of the second colour, 0..1, with edges about a pixel soft."""
    sharp = item.radius / 6
    if item.texture == "striped":
        wave = np.sin(u * 7.0)
    elif item.texture == "dotted":
        wave = np.sin(u * 8.0) * np.sin(v * 8.0) * 2 - 0.8
    elif item.texture == "checked":
        wave = np.sin(u * 5.5) * np.sin(v * 5.5) * 2
    else:
        wave = np.sin(np.hypot(u, v) * 9.0 - 1.0)
    return np.clip(0.5 + wave * sharp, 0, 1)
