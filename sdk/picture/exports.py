"""Requests as benchmarks have them: the folders of DragBench and Drag100, in a zip file."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from ..request import Drag, Point, Request
from .drawing import draw_instruction
from .masks import load_mask, load_regions
from .segmentation import mask_around

PROTOCOL = 3  # the newest in which a pickle names functions in plain text, and older than what published code runs on


def dragbench(picture: np.ndarray, request: Request, name: str) -> bytes:
    """A zip with `dragtext/NAME/` as DragBench has it: original_image.png, user_drag.png and meta_data.pkl of prompt,
    points and mask (uint8, 255 may change).

    picture: (H, W, 3) uint8 RGB; the request's masks are data URIs. Raises InputError for those that do not fit.
    """
    mask = _mask(request, picture.shape[:2])
    content = {"prompt": request.prompt, "points": _flat(request.drags), "mask": mask}
    # numpy 2 names functions in a module that numpy 1, which the published code needs, does not have.
    data = pickle.dumps(content, PROTOCOL).replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")
    files = {
        "original_image.png": _encoded(picture),
        "user_drag.png": _encoded(draw_instruction(picture, request.drags, mask)),
        "meta_data.pkl": data,
    }
    return _zip({f"dragtext/{name}/{file}": content for file, content in files.items()})


def drag100(picture: np.ndarray, request: Request, name: str) -> bytes:
    """A zip with `NAME/` as Drag100 has it: original.jpg, mask.png and points.json. Arguments as for `dragbench`."""
    files = {
        "original.jpg": _encoded(picture, "JPEG", quality=95),
        "mask.png": _encoded(_mask(request, picture.shape[:2])),
        "points.json": json.dumps({"points": _flat(request.drags)}).encode(),
    }
    return _zip({f"{name}/{file}": content for file, content in files.items()})


def _mask(request: Request, size: tuple[int, int]) -> np.ndarray:
    """(H, W) uint8, 255 where something may change: benchmarks have a mask always."""
    regions = load_regions(request.region, size)
    if request.mask is not None:
        mask = load_mask(request.mask, size)
    elif regions:
        mask = mask_around(np.any(regions, axis=0), request.drags)
    else:
        mask = np.ones(size, bool)
    return mask.astype(np.uint8) * 255


def _flat(drags: tuple[Drag, ...]) -> list[list[float]]:
    return [_plain(point) for drag in drags for point in (drag.source, drag.target)]


def _plain(point: Point) -> list[float]:
    return [int(side) if side == int(side) else side for side in point]


def _encoded(picture: np.ndarray, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, kind, **options)
    return buffer.getvalue()


def _zip(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in files.items():
            archive.writestr(zipfile.ZipInfo(path, (2000, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()
