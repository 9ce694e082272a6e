"""Where in a picture something is found again: the cosine similarity of features at every pixel, in little memory.

The published code enlarges both feature maps to the picture's size, over a gigabyte each, and compares vector by
vector. But the dot product with an enlarged map is the enlarged map of dot products, and the length of a vector between
four cells follows from the products of neighbouring cells; so nothing with channels is ever enlarged, and the numbers
are the same but for rounding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

_STRIP = 64  # rows of the picture that are compared at a time
_LEAST = 1e-8  # length of a feature below which it is like nothing, as torch's cosine similarity has it


@dataclass(frozen=True)
class FeatureField:
    """Features of a picture, seen at its pixels.

    values: (C, h, w) float32. extent: (height, width) in pixels of the picture that the map spans; the picture lies at
    its top left. smooth: bilinear between cells (align_corners=False), else the nearest cell's.
    """

    values: np.ndarray
    extent: tuple[int, int]
    smooth: bool = True

    def axis(self, number: int, first: int, last: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """For pixels `first` to before `last` of axis 0 (rows) or 1 (columns): two cells, and the second's share."""
        pixels, cells = self.extent[number], self.values.shape[1 + number]
        place = np.arange(first, last)
        if not self.smooth:
            low = np.minimum(place * cells // pixels, cells - 1)
            return low, low, np.zeros(len(place))
        source = np.maximum((place + 0.5) * cells / pixels - 0.5, 0)
        low = np.minimum(np.floor(source).astype(np.int64), cells - 1)
        high = np.minimum(low + 1, cells - 1)
        return low, high, np.where(low == high, 0.0, source - low)

    def at(self, row: int, col: int) -> np.ndarray:
        """(C,) float64, the feature at a pixel."""
        axes = self.axis(0, row, row + 1), self.axis(1, col, col + 1)
        found = [weight[0, 0] * self.values[:, rows, cols][:, 0, 0] for weight, (rows, cols) in _corners(*axes)]
        return np.sum(found, axis=0)

    @cached_property
    def products(self) -> tuple[np.ndarray, ...]:
        """Dot products of each cell with itself, with the one to the right, below, and across in either direction
        (of the four cells that begin at it), (h, w) float64 each; 0 where there is no neighbour."""
        values = self.values.astype(np.float64)
        height, width = values.shape[1:]

        def of(first: np.ndarray, second: np.ndarray) -> np.ndarray:
            found = np.zeros((height, width))
            product = np.einsum("chw,chw->hw", first, second)
            found[: product.shape[0], : product.shape[1]] = product
            return found

        return (
            of(values, values),
            of(values[:, :, :-1], values[:, :, 1:]),
            of(values[:, :-1], values[:, 1:]),
            of(values[:, :-1, :-1], values[:, 1:, 1:]),
            of(values[:, :-1, 1:], values[:, 1:, :-1]),
        )


Axis = tuple[np.ndarray, np.ndarray, np.ndarray]  # as `FeatureField.axis` gives it


def _corners(rows: Axis, cols: Axis) -> list[tuple[np.ndarray, tuple[np.ndarray, ...]]]:
    """Upper left, upper right, lower left and lower right cells of each pixel: their (rows, cols) weight and index."""
    (top, bottom, down), (left, right, along) = rows, cols
    down, along = down[:, None], along[None, :]
    return [
        ((1 - down) * (1 - along), np.ix_(top, left)),
        ((1 - down) * along, np.ix_(top, right)),
        (down * (1 - along), np.ix_(bottom, left)),
        (down * along, np.ix_(bottom, right)),
    ]


def similarity(vector: np.ndarray, field: FeatureField, size: tuple[int, int]) -> Iterator[tuple[int, np.ndarray]]:
    """Cosine of a feature (C,) with the field at every pixel of a picture of `size` (height, width), strip by strip:
    each with the row that it begins at, (up to 64, width) float64, top to bottom."""
    dots = np.einsum("c,chw->hw", vector, field.values)
    own, beside, below, across, back = field.products
    length = max(float(np.linalg.norm(vector)), _LEAST)
    cols = field.axis(1, 0, size[1])
    for first in range(0, size[0], _STRIP):
        corners = _corners(field.axis(0, first, min(first + _STRIP, size[0])), cols)
        (w00, at00), (w01, at01), (w10, at10), (w11, _) = corners
        dot = np.sum([weight * dots[at] for weight, at in corners], axis=0)
        squared = np.sum([weight**2 * own[at] for weight, at in corners], axis=0)
        squared = squared + 2 * (
            w00 * w01 * beside[at00]
            + w10 * w11 * beside[at10]
            + w00 * w10 * below[at00]
            + w01 * w11 * below[at01]
            + w00 * w11 * across[at00]
            + w01 * w10 * back[at00]
        )
        yield first, dot / (np.maximum(np.sqrt(np.maximum(squared, 0)), _LEAST) * length)


def closest(
    original: FeatureField,
    places: Sequence[tuple[int, int]],
    edited: FeatureField,
    size: tuple[int, int],
    allowed: Sequence[np.ndarray] | None = None,
) -> np.ndarray:
    """Where what is at `places` of the original is found in the edited picture: (n, 2) int64 (row, col).

    places: whole (row, col) pixels. size: (height, width) of the picture. allowed: for each place the (height, width)
    bool pixels to look at, at least one; None is all of them. Of equally similar pixels the first in reading order.
    """
    found = []
    for number, place in enumerate(places):
        best, where = -np.inf, (0, 0)
        for first, alike in similarity(original.at(*place), edited, size):
            if allowed is not None:
                alike = np.where(allowed[number][first : first + len(alike)], alike, -np.inf)
            index = int(alike.argmax())
            if alike.flat[index] > best:
                best, where = alike.flat[index], (first + index // size[1], index % size[1])
        found.append(where)
    return np.array(found, np.int64).reshape(-1, 2)
