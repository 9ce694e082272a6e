"""What several test files need: pictures of noise and of toys, their files, and a disk that is full."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from dragtext.sdk.evaluation.drawing import draw_scene
from dragtext.sdk.evaluation.scenes import FIRST_UNSEEN_SEED, make_scene
from PIL import Image


def noise(height: int = 70, width: int = 93, channels: int = 3, seed: int = 0) -> np.ndarray:
    """(height, width, channels) uint8, the same for the same arguments; its sides are no multiples of a latent cell."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def places(*positions: tuple[float, float]) -> torch.Tensor:
    """Grid (row, col) positions (n, 2) as the drag loops have them."""
    return torch.tensor(positions, dtype=torch.float64)


def encoded(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """The bytes of the picture's file."""
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def scene(seed: int) -> str:
    """A scene of toys that the embedded model has not seen, as a PNG in base64."""
    picture = Image.fromarray(draw_scene(make_scene(FIRST_UNSEEN_SEED + seed)))
    return base64.b64encode(encoded(picture)).decode()


@contextmanager
def full_disk(left: int = 1000) -> Iterator[None]:
    """No file can grow beyond `left` bytes; the same errors as on a full disk, without one."""
    resource = pytest.importorskip("resource", reason="Windows has no limit on a file's size")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (left, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
