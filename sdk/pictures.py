"""Pictures of an edit: the instruction, a labelled strip, and the trajectory as an animation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from .images import write_atomically
from .request import Drag

_HANDLE, _TARGET, _LINE = (230, 40, 60), (40, 90, 230), (255, 255, 255)
_LABEL_HEIGHT = 26


def draw_instruction(image: np.ndarray, drags: Sequence[Drag], mask: np.ndarray | None) -> np.ndarray:
    """(H, W, 3) uint8 RGB with arrows from red handles to blue targets; what is protected is dimmed."""
    drawn = image.copy()
    if mask is not None:
        drawn[mask == 0] = drawn[mask == 0] // 2
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


def save_trajectory(
    path: Path, image: np.ndarray, result: np.ndarray, trajectory: np.ndarray, targets: Sequence[tuple[float, float]]
) -> Path:
    """A GIF of the handles travelling over `image`, ending on `result`. trajectory: (K, n, 2) (x, y) pixels."""
    frames = []
    for moment in range(len(trajectory)):
        drawn = image.copy()
        for index, target in enumerate(targets):
            path_so_far = np.rint(trajectory[: moment + 1, index]).astype(np.int32)
            cv2.polylines(drawn, [path_so_far.reshape(-1, 1, 2)], False, _LINE, 2, cv2.LINE_AA)
            _dot(drawn, target, _TARGET)
            _dot(drawn, tuple(trajectory[moment, index]), _HANDLE)
        frames.append(Image.fromarray(drawn))
    frames.append(Image.fromarray(result))
    durations = [80] * len(trajectory) + [2000]

    def write(temporary: Path) -> None:
        frames[0].save(temporary, format="GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0)

    return write_atomically(path, write)


def _dot(image: np.ndarray, point: Sequence[float], colour: tuple[int, int, int]) -> None:
    centre = (round(point[0]), round(point[1]))
    cv2.circle(image, centre, 5, (255, 255, 255), -1, cv2.LINE_AA)
    cv2.circle(image, centre, 4, colour, -1, cv2.LINE_AA)
