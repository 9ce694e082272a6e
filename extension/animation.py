"""An edit on its way, as a moving picture: the instruction, the warped start, previews of the loop, the result."""

from __future__ import annotations

import io
from collections.abc import Callable

import cv2
import numpy as np
from PIL import Image

from ..sdk.drag.regions import choose_regions
from ..sdk.drag.start import in_betweens
from ..sdk.errors import InputError
from ..sdk.picture.animation import Frames, gif_of, mp4_of
from ..sdk.picture.drawing import draw_instruction
from ..sdk.picture.masks import load_mask, load_regions
from ..sdk.picture.reading import load_image
from ..sdk.request import Drag, Point
from .job import EditJob
from .pictures import DECODING
from .queue import NotFinishedError

SIDE = 512  # pixels of the longer side, at most
BETWEEN = 11  # pictures of the warped start's way
FIRST, START, LOOP, LAST = 800, 60, 120, 1600  # milliseconds
FORMATS: dict[str, tuple[Callable[[Frames], bytes], str]] = {
    "gif": (gif_of, "image/gif"),
    "mp4": (mp4_of, "video/mp4"),
}


def animation(job: EditJob, kind: str) -> tuple[bytes, str]:
    """The file of a finished edit, and its media type. kind: of FORMATS. Raises InputError, NotFinishedError."""
    if kind not in FORMATS:
        raise InputError(f"format is one of {', '.join(FORMATS)}.")
    write, media = FORMATS[kind]
    with DECODING:
        return write(_frames(job)), media


def _frames(job: EditJob) -> Frames:
    result, picture, request = job.result, job.picture, job.request
    if result is None or picture is None:
        raise NotFinishedError("The edit has no result any more; drag again.")
    height, width = picture.size
    scale = min(1.0, SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))

    def shrunk(pixels: np.ndarray) -> np.ndarray:
        return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)

    def place(point: Point) -> Point:
        return min(point[0] * scale, size[0] - 1), min(point[1] * scale, size[1] - 1)

    before = shrunk(picture.pixels)
    drags = [Drag(place(drag.source), place(drag.target)) for drag in request.drags]
    frames = [(draw_instruction(before, drags, None), FIRST)]
    if result.start is not None:
        masks = [load_mask(request.mask, picture.size)] if request.mask is not None else []
        regions = load_regions(request.region, picture.size)
        small = [shrunk(mask.astype(np.uint8) * 255) > 127 for mask in [*masks, *regions]]
        moves = choose_regions(before, drags, small[0] if masks else None, small[len(masks) :]).moves
        frames += [(between, START) for between in in_betweens(before, moves, BETWEEN)]
    for points, shot in job.shots:
        pixels = np.array(Image.open(io.BytesIO(shot)).convert("RGB").resize(size))
        left = [Drag(place(point), drag.target) for point, drag in zip(points, drags)]
        frames.append((draw_instruction(pixels, left, None), LOOP))
    return [*frames, (shrunk(load_image(job.image).visible), LAST)]
