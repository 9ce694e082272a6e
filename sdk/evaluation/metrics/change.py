"""What changed, on pixels alone: where the content should have arrived, and where nothing should have happened."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from ..tasks import Pair

MOST_DB = 100.0  # what identical pictures get: infinity would spoil every mean
_WINDOW, _SIGMA = 11, 1.5  # of SSIM, pixels


def dragging_accuracy(original: np.ndarray, edited: np.ndarray, drags: Sequence[Pair], radius: int) -> float:
    """DAI: squared difference of RGB in [0, 1], summed over channels, between the square patch of `radius` pixels
    around a handle in the original and the one around its target in the result; averaged over the patch and the drags.

    Unit: squared RGB, 0 to 3; lower is better. Of a patch that leaves a picture only the pixels count that both
    pictures have. Source: GoodDrag (Zhang et al., ICLR 2025, arXiv 2404.07206), its formula, not its code.

    original, edited: (H, W, 3) uint8; drags: pixel pairs, rounded to whole pixels.
    """
    return float(np.mean([_difference(original, edited, pair, radius)[0] for pair in drags]))


def dragging_accuracy_as_published(
    original: np.ndarray, edited: np.ndarray, drags: Sequence[Pair], radius: int
) -> float | None:
    """DAI as GoodDrag's `compute_DAI.py` computes it: divided by the number of drags once more.

    Unit and direction as `dragging_accuracy`; with one drag the two are equal. None where a patch leaves a picture:
    the published code fails there.
    """
    found = [_difference(original, edited, pair, radius) for pair in drags]
    if any(pixels < (2 * radius + 1) ** 2 for _, pixels in found):
        return None
    return float(np.mean([difference for difference, _ in found]) / len(drags))


def _difference(original: np.ndarray, edited: np.ndarray, pair: Pair, radius: int) -> tuple[float, int]:
    """Mean squared difference of the two patches, and of how many pixels."""
    ranges = []
    for axis, side in ((1, original.shape[0]), (0, original.shape[1])):
        here, there = (int(np.clip(np.rint(place[axis]), 0, side - 1)) for place in pair)
        before = min(radius, here, there)
        after = min(radius, side - 1 - here, side - 1 - there)
        ranges.append((slice(here - before, here + after + 1), slice(there - before, there + after + 1)))
    (rows, other_rows), (cols, other_cols) = ranges
    patch, other = original[rows, cols] / 255.0, edited[other_rows, other_cols] / 255.0
    squares = np.square(patch - other).sum(2)
    return float(squares.mean()), squares.size


def share_changed(original: np.ndarray, edited: np.ndarray, where: np.ndarray) -> float:
    """Share of the pixels of `where`, (H, W) bool, that changed at all: 0 to 1, lower is better outside a mask."""
    return float((original != edited).any(2)[where].mean())


def mean_change(original: np.ndarray, edited: np.ndarray, where: np.ndarray | None = None) -> float:
    """L1: mean absolute difference over pixels and channels, in levels of 255; lower is better outside a mask."""
    difference = np.abs(original.astype(np.float64) - edited)
    return float((difference if where is None else difference[where]).mean())


def psnr(picture: np.ndarray, other: np.ndarray, where: np.ndarray | None = None) -> float:
    """Peak signal-to-noise ratio of 8-bit pictures, in dB; higher is better. 10 log10(255^2 / mean squared difference).

    picture, other: (H, W, 3), 0 to 255; where: (H, W) bool, the pixels that count. At most 100, which identical
    pictures get.
    """
    squares = np.square(picture.astype(np.float64) - other)
    error = float((squares if where is None else squares[where]).mean())
    return float(min(MOST_DB, 10 * np.log10(255**2 / error))) if error else MOST_DB


def squared_change(original: np.ndarray, edited: np.ndarray) -> float:
    """Mean squared difference over pixels and channels of pictures in [-1, 1], 0 to 4; lower is more alike."""
    return float(np.square((original.astype(np.float64) - edited) / 127.5).mean())


def structural_similarity(original: np.ndarray, edited: np.ndarray, where: np.ndarray) -> float:
    """SSIM over the pixels of `where`, (H, W) bool: at most 1, which is no change; higher is better.

    As Wang et al. (IEEE TIP 2004) define it: a Gaussian window of 11 pixels and sigma 1.5, (0.01 * 255)^2 and
    (0.03 * 255)^2, mean over the channels; a test holds it to scikit-image's numbers. What lies elsewhere is taken from
    the original, so that the windows at the border see nothing of an edit that may change there.
    """
    first = original.astype(np.float64)
    second = np.where(where[..., None], edited, original).astype(np.float64)
    mean, other = _blurred(first), _blurred(second)
    spread = _blurred(first * first) - mean * mean
    spread_of_other = _blurred(second * second) - other * other
    together = _blurred(first * second) - mean * other
    least, least_spread = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    light = (2 * mean * other + least) / (mean**2 + other**2 + least)
    structure = (2 * together + least_spread) / (spread + spread_of_other + least_spread)
    return float((light * structure).mean(2)[where].mean())


def _blurred(picture: np.ndarray) -> np.ndarray:
    return cv2.GaussianBlur(picture, (_WINDOW, _WINDOW), _SIGMA, borderType=cv2.BORDER_REFLECT)
