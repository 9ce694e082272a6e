"""Moving pictures: GIF by Pillow, MP4 by OpenCV where it has a codec for it."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from ..errors import InputError
from .files import write_atomically

Frames = Sequence[tuple[np.ndarray, int]]  # (H, W, 3) uint8 RGB, all of one size, with the milliseconds it is shown

PER_SECOND = 25  # of an MP4
CODECS = ("vp09", "mp4v")  # the first is what browsers show


def gif_of(frames: Frames) -> bytes:
    """A GIF file that is shown again and again."""
    pictures = [Image.fromarray(picture) for picture, _ in frames]
    durations = [duration for _, duration in frames]
    buffer = io.BytesIO()
    pictures[0].save(buffer, "GIF", save_all=True, append_images=pictures[1:], duration=durations, loop=0)
    return buffer.getvalue()


def mp4_of(frames: Frames) -> bytes:
    """An MP4 file. Raises InputError where this machine's OpenCV cannot write one."""
    height, width = (side // 2 * 2 for side in frames[0][0].shape[:2])  # codecs want even sides
    with tempfile.TemporaryDirectory(prefix="dragtext-", ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "drag.mp4"
        for codec in CODECS:
            code = cv2.VideoWriter.fourcc(*codec)
            writer = cv2.VideoWriter(str(path), code, PER_SECOND, (width, height))
            if writer.isOpened():
                for picture, duration in frames:
                    turned = np.ascontiguousarray(picture[:height, :width, ::-1])
                    for _ in range(max(1, round(duration * PER_SECOND / 1000))):
                        writer.write(turned)
            writer.release()
            if path.is_file() and path.stat().st_size:
                return path.read_bytes()
    raise InputError("The OpenCV of this machine has no codec for MP4; take the GIF.")


def save_animation(path: Path, frames: Frames) -> Path:
    """Write a GIF, all of it or nothing. Raises InputError where that is impossible."""
    return write_atomically(path, lambda temporary: temporary.write_bytes(gif_of(frames)))
