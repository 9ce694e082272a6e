"""Pictures of an edit: the instruction, a labelled strip, and a sweep."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from ..request import Drag
from .files import write_picture
from .reading import load_image

_HANDLE, _TARGET, _LINE = (230, 40, 60), (40, 90, 230), (255, 255, 255)
_LABEL_HEIGHT = 26


def draw_instruction(image: np.ndarray, drags: Sequence[Drag], mask: np.ndarray | None) -> np.ndarray:
    """(H, W, 3) uint8 RGB with arrows from red handles to blue targets; what is protected is dimmed and outlined."""
    drawn = image.copy()
    if mask is not None:
        inside = (np.asarray(mask) > 0).astype(np.uint8)
        drawn[inside == 0] = drawn[inside == 0] // 4 * 3
        outline, _ = cv2.findContours(inside, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(drawn, outline, -1, (255, 255, 255), 1, cv2.LINE_AA)
    for drag in drags:
        start, end = (tuple(round(v) for v in point) for point in (drag.source, drag.target))
        cv2.arrowedLine(drawn, start, end, (0, 0, 0), 4, cv2.LINE_AA, tipLength=0.2)
        cv2.arrowedLine(drawn, start, end, _LINE, 2, cv2.LINE_AA, tipLength=0.2)
        _dot(drawn, drag.source, _HANDLE)
        _dot(drawn, drag.target, _TARGET)
    return drawn


def strip(images: Sequence[np.ndarray], labels: Sequence[str]) -> np.ndarray:
    """Equal-sized (H, W, 3) uint8 RGB images side by side, each under its label."""
    columns = []
    for image, label in zip(images, labels):
        head = np.full((_LABEL_HEIGHT, image.shape[1], 3), 255, np.uint8)
        cv2.putText(head, label, (6, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
        columns.append(np.vstack([head, image]))
    gap = np.full((columns[0].shape[0], 6, 3), 255, np.uint8)
    parts = [part for column in columns for part in (column, gap)]
    return np.hstack(parts[:-1])


def thumbnail(image: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 RGB, at most 384 px wide."""
    height, width = image.shape[:2]
    share = min(1.0, 384 / width)
    size = (max(1, round(width * share)), max(1, round(height * share)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def contact_sheet(images: Sequence[np.ndarray], labels: Sequence[str], columns: int) -> np.ndarray:
    """The first image in a row of its own, the others `columns` to a row, under their labels."""
    rows = [strip(images[:1], labels[:1])]
    for first in range(1, len(images), columns):
        rows.append(strip(images[first : first + columns], labels[first : first + columns]))
    widest = max(row.shape[1] for row in rows)
    return np.vstack([np.pad(row, ((0, 6), (0, widest - row.shape[1]), (0, 0)), constant_values=255) for row in rows])


def save_sweep(path: Path, images: Sequence[Image.Image], labels: Sequence[str]) -> tuple[Path, Path]:
    """A strip of labelled thumbnails at `path` (.png), and a GIF of them that goes there and back beside it."""
    small = [thumbnail(load_image(image).visible) for image in images]
    sheet = Image.fromarray(strip(small, labels))
    write_picture(path, sheet, "PNG")
    frames = [Image.fromarray(image) for image in small]
    there_and_back = [*frames[1:], *frames[-2:0:-1]]
    animation = path.with_suffix(".gif")
    write_picture(animation, frames[0], "GIF", save_all=True, append_images=there_and_back, duration=120, loop=0)
    return path, animation


def _dot(image: np.ndarray, point: Sequence[float], colour: tuple[int, int, int]) -> None:
    centre = (round(point[0]), round(point[1]))
    cv2.circle(image, centre, 5, (255, 255, 255), -1, cv2.LINE_AA)
    cv2.circle(image, centre, 4, colour, -1, cv2.LINE_AA)
