"""The only module that converts coordinates, sizes and masks.

Outside: (x, y) pixels of the user's image. Inside: (row, col) of the feature grid, which has half the model image's
resolution. An image whose sides do not suit the model is padded at its right and bottom and cropped back at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from .errors import InputError
from .request import Drag, Point

LATENT_FACTOR = 8
MIN_MODEL_SIDE = 64


def grid_size(height: int, width: int) -> tuple[int, int]:
    """Feature grid of an image: half of each side, rounded down (ALGORITHMS 1.1.3)."""
    return int(0.5 * height), int(0.5 * width)


def points_to_grid(points_xy: Sequence[Point], size: tuple[int, int], grid: tuple[int, int]) -> np.ndarray:
    """(x, y) pixels of an image of `size` (height, width) to (n, 2) float64 whole (row, col) of `grid`.

    Computed in float32 and rounded half to even, as the published code does (ALGORITHMS 1.1.4).
    """
    xy = torch.tensor([list(p) for p in points_xy], dtype=torch.float32).reshape(-1, 2)
    row = torch.round(xy[:, 1] / size[0] * grid[0])
    col = torch.round(xy[:, 0] / size[1] * grid[1])
    return torch.stack([row, col], dim=1).double().numpy()


def mask_to_latent(mask: np.ndarray, grid: tuple[int, int], latent: tuple[int, int]) -> Tensor:
    """HxW mask, positive = may change, to (1, 1, h, w) float32 of 0 and 1 (two nearest resizes, ALGORITHMS 1.1.5)."""
    binary = torch.from_numpy((np.asarray(mask) > 0).astype(np.float32))[None, None]
    halved = torch.nn.functional.interpolate(binary, grid, mode="nearest")
    return torch.nn.functional.interpolate(halved, latent, mode="nearest")


@dataclass(frozen=True)
class Frame:
    """Sizes of one edit, all (height, width): the user's image, the padded image, its latent and feature grids."""

    image: tuple[int, int]
    padded: tuple[int, int]

    @classmethod
    def of(cls, height: int, width: int, multiple: int = LATENT_FACTOR) -> Frame:
        """Sides are padded up to a multiple of `multiple` pixels, and to at least 64."""

        def pad(side: int) -> int:
            return max(-(-side // multiple) * multiple, MIN_MODEL_SIDE)

        return cls((height, width), (pad(height), pad(width)))

    @property
    def latent(self) -> tuple[int, int]:
        return self.padded[0] // LATENT_FACTOR, self.padded[1] // LATENT_FACTOR

    @property
    def grid(self) -> tuple[int, int]:
        return grid_size(*self.padded)

    def image_to_model(self, rgb: np.ndarray) -> Tensor:
        """HxWx3 uint8 to (1, 3, H', W') float32 in [-1, 1], padded by repeating the border."""
        (height, width), (tall, wide) = self.image, self.padded
        padded = cv2.copyMakeBorder(rgb, 0, tall - height, 0, wide - width, cv2.BORDER_REPLICATE)
        return torch.from_numpy(padded).permute(2, 0, 1)[None].float() / 127.5 - 1

    def image_from_model(self, image: Tensor) -> np.ndarray:
        """(1, 3, H', W') in [0, 1] to HxWx3 uint8, cropped; truncated, not rounded (ALGORITHMS 1.1.6)."""
        cropped = image[0, :, : self.image[0], : self.image[1]]
        return (cropped.permute(1, 2, 0).cpu().numpy() * 255).astype(np.uint8)

    def mask_to_model(self, mask: np.ndarray) -> Tensor:
        """HxW mask to (1, 1, h, w) of 0 and 1; the padding may not change."""
        (height, width), (tall, wide) = self.image, self.padded
        padded = np.zeros((tall, wide), np.uint8)
        padded[:height, :width] = np.asarray(mask) > 0
        return mask_to_latent(padded, self.grid, self.latent)

    def to_grid(self, drags: Sequence[Drag]) -> tuple[np.ndarray, np.ndarray]:
        """Handles and targets, each (n, 2) feature-grid (row, col). Raises InputError for a point off the image."""
        height, width = self.image
        for drag in drags:
            for name, (x, y) in (("handle", drag.source), ("target", drag.target)):
                if not (0 <= x <= width - 1 and 0 <= y <= height - 1):
                    raise InputError(
                        f"The {name} ({x:g}, {y:g}) lies outside the image, whose x goes from 0 to {width - 1} "
                        f"and y from 0 to {height - 1}."
                    )
        # Near the far border rounding half to even can leave the grid by one.
        last = np.array(self.grid, dtype=np.float64) - 1
        sources = points_to_grid([d.source for d in drags], self.padded, self.grid)
        targets = points_to_grid([d.target for d in drags], self.padded, self.grid)
        return np.minimum(sources, last), np.minimum(targets, last)

    def to_pixels(self, points: np.ndarray) -> np.ndarray:
        """(..., 2) feature-grid (row, col) to (..., 2) float64 (x, y) pixels of the user's image, inside it."""
        scale = np.array([self.padded[0] / self.grid[0], self.padded[1] / self.grid[1]])
        limit = np.array([self.image[1] - 1, self.image[0] - 1], dtype=np.float64)
        return np.minimum((np.asarray(points, dtype=np.float64) * scale)[..., ::-1], limit)
