"""Which colour and which shape a generated scene shows, by segmentation and contours: never asks a network."""

from __future__ import annotations

import cv2
import numpy as np

from .scenes import COLOURS, SHAPES, SceneObject, object_mask

_DIFFERENT = 40.0
_SMALLEST = 300  # pixels; anything smaller is no object


def recognise(image: np.ndarray) -> tuple[str, str] | None:
    """(colour, shape) words of the largest object of an (S, S, 3) uint8 RGB scene, None without one."""
    patch = _largest(image)
    return None if patch is None else (_colour(image, patch), _shape(patch))


def _largest(image: np.ndarray) -> np.ndarray | None:
    """(S, S) uint8, 1 on the largest blob that differs from the background."""
    smooth = cv2.GaussianBlur(image, (5, 5), 0).astype(np.float32)
    border = np.concatenate([smooth[:8].reshape(-1, 3), smooth[-8:].reshape(-1, 3), smooth[:, :8].reshape(-1, 3)])
    differs = np.linalg.norm(smooth - np.median(border, axis=0), axis=2) > _DIFFERENT
    closed = cv2.morphologyEx(differs.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((7, 7), np.uint8))
    count, labels, statistics, _ = cv2.connectedComponentsWithStats(closed)
    if count < 2:
        return None
    best = 1 + int(statistics[1:, cv2.CC_STAT_AREA].argmax())
    if statistics[best, cv2.CC_STAT_AREA] < _SMALLEST:
        return None
    outlines, _ = cv2.findContours((labels == best).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = np.zeros(image.shape[:2], np.uint8)
    cv2.drawContours(filled, outlines, -1, 1, -1)
    return filled


def _colour(image: np.ndarray, patch: np.ndarray) -> str:
    """The named colour nearest in hue to the blob's saturated pixels."""
    inside = image[cv2.erode(patch, np.ones((5, 5), np.uint8)) > 0]
    if not len(inside):
        inside = image[patch > 0]
    hsv = cv2.cvtColor(inside[None], cv2.COLOR_RGB2HSV)[0].astype(np.float32)
    weight = hsv[:, 1] * hsv[:, 2]
    # The mean of an angle: through its unit vectors.
    angle = np.angle((weight * np.exp(1j * hsv[:, 0] * np.pi / 90)).sum())
    names = list(COLOURS)
    hues = (
        cv2.cvtColor(np.array([[COLOURS[name] for name in names]], np.uint8), cv2.COLOR_RGB2HSV)[0, :, 0] * np.pi / 90
    )
    return names[int(np.abs(np.angle(np.exp(1j * (hues - angle)))).argmin())]


def _shape(patch: np.ndarray) -> str:
    found = _features(patch)
    drawn = {shape: _features(_canonical(shape)) for shape in SHAPES}
    return min(SHAPES, key=lambda shape: float(np.abs(found - drawn[shape]).sum()))


def _canonical(shape: str) -> np.ndarray:
    item = SceneObject(shape, "red", "striped", "large", "dark", (80.0, 80.0), 50.0, 0.3)
    return object_mask(item, 160).astype(np.uint8)


def _features(patch: np.ndarray) -> np.ndarray:
    """Area over that of the convex hull, of the least enclosing triangle, and of the least enclosing rectangle.

    None of the three changes when the shape is moved, turned, scaled or (nearly) stretched.
    """
    outlines, _ = cv2.findContours(patch, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outline = max(outlines, key=cv2.contourArea)
    area = float(patch.sum())
    hull = max(cv2.contourArea(cv2.convexHull(outline)), 1.0)
    triangle = max(float(cv2.minEnclosingTriangle(outline)[0]), 1.0)
    (_, (width, height), _) = cv2.minAreaRect(outline)
    return np.array([area / hull, area / triangle, area / max(width * height, 1.0)])
