"""The only module that converts coordinates, sizes and masks.

Outside: (x, y) pixels of the user's image. Inside: (row, col) of the feature grid, which has half the model image's
resolution. An image may be cropped to a box and scaled to a working size; sides that do not suit the model are padded
at the right and bottom and cropped back at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from ..request import Drag, Point
from ..settings import SEAM

LATENT_FACTOR = 8
MIN_MODEL_SIDE = 64
ROOM, MIN_ROOM, MIN_BOX = 0.35, 24.0, 96.0  # around drags and mask: share of their extent, pixels; least side, pixels


def grid_size(height: int, width: int) -> tuple[int, int]:
    """Feature grid of an image: half of each side, rounded down (ALGORITHMS 1.1.3)."""
    return int(0.5 * height), int(0.5 * width)


def points_to_grid(points_xy: Sequence[Point] | np.ndarray, size: tuple[int, int], grid: tuple[int, int]) -> np.ndarray:
    """(x, y) pixels of an image of `size` (height, width) to (n, 2) float64 whole (row, col) of `grid`.

    Computed in float32 and rounded half to even, as the published code does (ALGORITHMS 1.1.4).
    """
    xy = torch.tensor([list(p) for p in points_xy], dtype=torch.float32, device="cpu").reshape(-1, 2)
    row = torch.round(xy[:, 1] / size[0] * grid[0])
    col = torch.round(xy[:, 0] / size[1] * grid[1])
    return torch.stack([row, col], dim=1).double().numpy()


def mask_to_latent(mask: np.ndarray, grid: tuple[int, int], latent: tuple[int, int]) -> Tensor:
    """HxW mask, positive = may change, to (1, 1, h, w) float32 of 0 and 1 (two nearest resizes, ALGORITHMS 1.1.5)."""
    binary = torch.from_numpy((np.asarray(mask) > 0).astype(np.float32))[None, None]
    halved = torch.nn.functional.interpolate(binary, grid, mode="nearest")
    return torch.nn.functional.interpolate(halved, latent, mode="nearest")


def box_around(drags: Sequence[Drag], mask: np.ndarray | None, image: tuple[int, int]) -> tuple[int, int, int, int]:
    """(top, left, bottom, right) pixels of what `crop="auto"` edits: all points and the mask, with room around them."""
    points = np.array([p for d in drags for p in (d.source, d.target)], dtype=np.float64)[:, ::-1]
    low, high = np.floor(points.min(axis=0)), np.floor(points.max(axis=0)) + 1
    if mask is not None:
        rows, cols = np.nonzero(np.asarray(mask) > 0)
        low = np.minimum(low, (rows.min(), cols.min()))
        high = np.maximum(high, (rows.max() + 1, cols.max() + 1))
    room = max(MIN_ROOM, ROOM * float((high - low).max()))
    # A narrow box would give the model nothing to see around the content.
    room = np.maximum(room, (MIN_BOX - (high - low)) / 2)
    top, left = (int(v) for v in np.maximum(np.floor(low - room), 0))
    bottom, right = (int(v) for v in np.minimum(np.ceil(high + room), image))
    return top, left, bottom, right


@dataclass(frozen=True)
class Frame:
    """Sizes of one edit, all (height, width): the user's image, the scaled box of it that is worked on, its padding.

    box: (top, left, bottom, right) pixels of the user's image; work: the box's size after scaling.
    """

    image: tuple[int, int]
    box: tuple[int, int, int, int]
    work: tuple[int, int]
    padded: tuple[int, int]

    @classmethod
    def of(
        cls,
        height: int,
        width: int,
        multiple: int = LATENT_FACTOR,
        *,
        pixels: int | None = None,
        box: tuple[int, int, int, int] | None = None,
    ) -> Frame:
        """Sides are padded up to a multiple of `multiple` pixels, and to at least 64.

        pixels: scale the box to about this area, with sides that need no padding; None keeps its size.
        box: part of the image to work on; None is all of it.
        """

        def pad(side: int) -> int:
            return max(-(-side // multiple) * multiple, MIN_MODEL_SIDE)

        box = box or (0, 0, height, width)
        size = (box[2] - box[0], box[3] - box[1])
        if pixels is not None:
            scale = (pixels / (size[0] * size[1])) ** 0.5
            size = tuple(max(round(side * scale / multiple) * multiple, MIN_MODEL_SIDE) for side in size)
        return cls((height, width), box, size, (pad(size[0]), pad(size[1])))

    @property
    def latent(self) -> tuple[int, int]:
        return self.padded[0] // LATENT_FACTOR, self.padded[1] // LATENT_FACTOR

    @property
    def grid(self) -> tuple[int, int]:
        return grid_size(*self.padded)

    @property
    def box_size(self) -> tuple[int, int]:
        """(height, width) of the box in pixels of the user's image."""
        return self.box[2] - self.box[0], self.box[3] - self.box[1]

    @property
    def scale(self) -> tuple[float, float]:
        """Working pixels per pixel of the user's image, (vertical, horizontal)."""
        return self.work[0] / self.box_size[0], self.work[1] / self.box_size[1]

    @property
    def is_whole(self) -> bool:
        """The user's image is worked on as it is, neither cropped nor scaled."""
        return self.box == (0, 0, *self.image) and self.work == self.image

    def image_to_model(self, rgb: np.ndarray) -> Tensor:
        """HxWx3 uint8 to (1, 3, H', W') float32 in [-1, 1], padded by repeating the border."""
        top, left, bottom, right = self.box
        part = rgb[top:bottom, left:right]
        if self.work != self.box_size:
            part = _resize(part, self.work)
        (height, width), (tall, wide) = self.work, self.padded
        padded = cv2.copyMakeBorder(part, 0, tall - height, 0, wide - width, cv2.BORDER_REPLICATE)
        return torch.from_numpy(padded).permute(2, 0, 1)[None].float() / 127.5 - 1

    def part_from_model(self, image: Tensor) -> np.ndarray:
        """(1, 3, H', W') in [0, 1] to the box's (h, w, 3) uint8; truncated, not rounded (ALGORITHMS 1.1.6)."""
        cropped = image[0, :, : self.work[0], : self.work[1]]
        part = (cropped.permute(1, 2, 0).cpu().numpy() * 255).astype(np.uint8)
        return part if self.work == self.box_size else _resize(part, self.box_size)

    def share(self, mask: np.ndarray | None, seam: float = SEAM) -> np.ndarray | None:
        """(height, width) of the box, float32 0..1: how much of the edited picture is taken; None is all of it.

        0 outside the mask (H, W), 1 from `seam` pixels inside it on, or up to twice as many where the work is enlarged;
        sooner in a mask so thin that it has no more. It rises softly from those edges of the box that are not the
        picture's own.
        """
        top, left, bottom, right = self.box
        if mask is None and self.box == (0, 0, *self.image):
            return None
        height, width = self.box_size
        edge = max(2.0, 0.06 * min(height, width))

        def ramp(length: int, first: bool, last: bool) -> np.ndarray:
            """Rises from the box's edges, except where an edge is the image's own."""
            place = np.arange(length, dtype=np.float32)
            rise = np.ones(length, np.float32)
            if not first:
                rise = np.minimum(rise, place / edge)
            return rise if last else np.minimum(rise, place[::-1] / edge)

        rows = ramp(height, top == 0, bottom == self.image[0])
        share = rows[:, None] * ramp(width, left == 0, right == self.image[1])[None]
        if mask is not None:
            # Where the work is enlarged again its pixels are coarse, and a seam as narrow as usual would show.
            wide = float(np.clip(seam / min(self.scale), seam, 2 * seam))
            inside = (np.asarray(mask)[top:bottom, left:right] > 0).astype(np.uint8)
            if not inside.all():
                within = cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
                share = share * np.clip(within / max(min(wide, max(1.0, float(within.max()) / 2)), 1e-3), 0, 1)
        return share

    def mask_to_model(self, mask: np.ndarray, drags: Sequence[Drag] = (), *, published: bool | None = None) -> Tensor:
        """HxW mask, positive = may change, to (1, 1, h, w) float32 of 0 and 1; the padding may not change.

        A latent cell is editable where the mask covers at least half of what it shows of the picture; so are the cells
        of the handles, and those of targets on the mask. A mask too thin to cover half of any cell gets the cells it
        covers best, if a quarter. published: the two nearest resizes of the published code instead, which by default
        serve where the picture is worked on as it is.
        """
        top, left, bottom, right = self.box
        part = (np.asarray(mask)[top:bottom, left:right] > 0).astype(np.float32)
        if self.is_whole if published is None else published:
            if self.work != self.box_size:
                part = cv2.resize(part, self.work[::-1], interpolation=cv2.INTER_NEAREST)
            padded = np.zeros(self.padded, np.float32)
            padded[: self.work[0], : self.work[1]] = part
            return mask_to_latent(padded, self.grid, self.latent)
        rows, cols = (
            _overlaps(cells, LATENT_FACTOR / scale, length)
            for cells, scale, length in zip(self.latent, self.scale, self.box_size)
        )
        covered = rows @ part @ cols.T / np.maximum(rows.sum(axis=1)[:, None] * cols.sum(axis=1)[None], 1e-6)
        most = float(covered.max())
        editable = covered >= (0.5 if most >= 0.5 else max(0.25, most / 2)) - 1e-4
        for cell in self._cells(drags, part > 0):
            editable[cell] = True
        return torch.from_numpy(editable.astype(np.float32))[None, None]

    def _cells(self, drags: Sequence[Drag], part: np.ndarray) -> list[tuple[int, int]]:
        """Latent cells (row, col) of the handles, and of the targets that lie on the mask's part (h, w) in the box."""
        (top, left, _, _), (down, across) = self.box, self.scale
        handles, targets = self.to_grid(drags)
        per_cell = np.array(self.grid) / np.array(self.latent)
        cells = []
        for drag, *places in zip(drags, handles, targets):
            for kind, ((x, y), place) in enumerate(zip((drag.source, drag.target), places)):
                row, col = np.clip((round(y) - top, round(x) - left), 0, np.array(part.shape) - 1)
                if kind == 0 or part[row, col]:
                    # Rounding to the feature grid may cross into the next cell; the drag needs both.
                    pixel = np.array([(y - top) * down, (x - left) * across]) / LATENT_FACTOR
                    for cell in (pixel, place / per_cell):
                        cells.append(tuple(int(v) for v in np.clip(np.floor(cell), 0, np.array(self.latent) - 1)))
        return cells

    def check_points(self, drags: Sequence[Drag]) -> None:
        """Raise InputError for a point off the image."""
        height, width = self.image
        for drag in drags:
            for name, (x, y) in (("handle", drag.source), ("target", drag.target)):
                if not (0 <= x <= width - 1 and 0 <= y <= height - 1):
                    raise InputError(
                        f"The {name} ({x:g}, {y:g}) lies outside the image, whose x goes from 0 to {width - 1} "
                        f"and y from 0 to {height - 1}."
                    )

    def to_grid(self, drags: Sequence[Drag]) -> tuple[np.ndarray, np.ndarray]:
        """Handles and targets, each (n, 2) feature-grid (row, col). Raises InputError for a point off the image."""
        self.check_points(drags)
        # Near the far border rounding half to even can leave the grid by one.
        last = np.array(self.grid, dtype=np.float64) - 1

        def convert(points: Sequence[Point]) -> np.ndarray:
            return np.minimum(points_to_grid(self.to_working(points), self.padded, self.grid), last)

        return convert([d.source for d in drags]), convert([d.target for d in drags])

    def to_working(self, points: Sequence[Point]) -> np.ndarray:
        """(x, y) pixels of the user's image to (n, 2) float64 (x, y) pixels of the model's."""
        (top, left, _, _), (down, across) = self.box, self.scale
        return np.array([((x - left) * across, (y - top) * down) for x, y in points], dtype=np.float64).reshape(-1, 2)

    def region_to_working(self, region: np.ndarray) -> np.ndarray:
        """(H, W) bool of the user's image to (H', W') bool of the model's; nothing lies in the padding."""
        top, left, bottom, right = self.box
        part = region[top:bottom, left:right].astype(np.float32)
        if self.work != self.box_size:
            part = cv2.resize(part, self.work[::-1], interpolation=cv2.INTER_AREA)
        padded = np.zeros(self.padded, bool)
        padded[: self.work[0], : self.work[1]] = part >= 0.5
        return padded

    def to_pixels(self, points: np.ndarray) -> np.ndarray:
        """(..., 2) feature-grid (row, col) to (..., 2) float64 (x, y) pixels of the user's image, inside it."""
        per_cell = np.array([self.padded[0] / self.grid[0], self.padded[1] / self.grid[1]])
        pixels = np.asarray(points, dtype=np.float64) * per_cell / np.array(self.scale) + np.array(self.box[:2])
        limit = np.array([self.image[1] - 1, self.image[0] - 1], dtype=np.float64)
        return np.minimum(pixels[..., ::-1], limit)

    @property
    def pixels_per_cell(self) -> float:
        """Pixels of the user's image per feature-grid pixel."""
        return self.padded[0] / self.grid[0] / self.scale[0]


def _overlaps(cells: int, size: float, length: int) -> np.ndarray:
    """(cells, length) float32: how much of each pixel each cell of `size` pixels covers, from 0 on."""
    start, pixel = np.arange(cells)[:, None] * size, np.arange(length)[None]
    return np.clip(np.minimum(start + size, pixel + 1) - np.maximum(start, pixel), 0, None).astype(np.float32)


def _resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(h, w, 3) uint8 to `size` (height, width), averaging where it shrinks."""
    shrinks = size[0] * size[1] < image.shape[0] * image.shape[1]
    return cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
