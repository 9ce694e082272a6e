"""What the page asks of a picture while somebody draws on it: what is meant, what may change, how it would be moved.

Each function opens the picture anew and takes up to a second: for a thread of its own (`bodies.in_thread`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from PIL import Image

from ..sdk.drag.regions import choose_regions
from ..sdk.drag.start import without_regions
from ..sdk.errors import InputError
from ..sdk.picture.frame import Frame
from ..sdk.picture.masks import JPEG_URI_PREFIX, load_mask, load_regions, mask_to_uri, to_uri
from ..sdk.picture.segmentation import Stroke, mask_around, pick_region
from ..sdk.request import Drag, Point, Request, read_drags
from .limits import MAX_DRAGS, check_count, check_request
from .pictures import DECODING, Picture, jpeg_of, small

MAX_STROKES, MAX_STROKE_POINTS = 100, 5000
START_SIDE = 1024  # a start is looked for on a copy of at most this side; the edit itself does it on the picture
FARTHEST = 1e6  # pixels; a stroke may begin beside the picture
FOUND_SMALL = 0.0005  # of the picture's area


def pick(picture: Picture, fields: Mapping[str, Any]) -> dict[str, Any]:
    """A region from clicks, a rectangle and strokes. Raises InputError, also where nothing is found."""
    _only(fields, "handles", "box", "plus", "minus")
    handles = _points(fields.get("handles") or (), "handles", MAX_DRAGS)
    plus, minus = (_strokes(fields.get(name) or (), name) for name in ("plus", "minus"))
    box = fields.get("box")
    corners = None
    if box is not None:
        if not isinstance(box, list) or len(box) != 4:
            raise InputError("box is [left, top, right, bottom] in pixels.")
        (x0, y0), (x1, y1) = _points([box[:2], box[2:]], "box", 2)
        corners = (min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))
    Frame.of(*picture.size).check_points([Drag(point, point) for point in handles])
    with DECODING:
        region = pick_region(picture.pixels, handles=handles, box=corners, plus=plus, minus=minus)
    if region is None:
        raise InputError(
            "Nothing here stands out from its surroundings; draw a rectangle around it, paint over it, or paint the "
            "region by hand."
        )
    note = (
        "What was found is very small; a rectangle around the object finds more." if region.mean() < FOUND_SMALL else ""
    )
    return {"region": mask_to_uri(region), "note": note}


def mask_for(picture: Picture, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The mask that follows from a region and drags, which may be none yet. Raises InputError."""
    _only(fields, "drags", "region")
    drags = read_drags(fields.get("drags") or ())
    check_count(len(drags))
    Frame.of(*picture.size).check_points(drags)
    if not isinstance(fields.get("region"), str):
        raise InputError("region is a PNG in base64.")
    with DECODING:
        (region,) = load_regions(fields["region"], picture.size)
        return {"mask": mask_to_uri(mask_around(region, drags))}


def start_of(picture: Picture, fields: Mapping[str, Any]) -> dict[str, Any]:
    """What the drags carry, where it hangs on a body, and the picture without it. Raises InputError."""
    _only(fields, "drags", "region", "mask")
    asked = Request.from_data(dict(fields))
    check_request(asked, picture.size)
    with DECODING:
        scale = min(1.0, START_SIDE / max(picture.size))
        size = tuple(max(1, round(side * scale)) for side in picture.size)
        across, down = size[1] / picture.size[1], size[0] / picture.size[0]
        scaled = [
            Drag(*((min(x * across, size[1] - 1), min(y * down, size[0] - 1)) for x, y in (drag.source, drag.target)))
            for drag in asked.drags
        ]
        pixels = _resized(picture.pixels, size)
        mask = None if asked.mask is None else _resized(load_mask(asked.mask, picture.size), size)
        texts = (asked.region,) if isinstance(asked.region, str) else asked.region or ()
        given = [_resized(read, size) for text in texts for read in load_regions(text, picture.size)]
        regions = choose_regions(pixels, scaled, mask, given)
        background, roots = without_regions(pixels, [region for region, _ in regions.moves])
        numbers = {id(drag): number for number, drag in enumerate(scaled)}
        moves = [
            {
                "region": mask_to_uri(_resized(region, picture.size)),
                "drags": [numbers[id(drag)] for drag in group],
                "root": None if root is None else mask_to_uri(_resized(root, picture.size)),
            }
            for (region, group), root in zip(regions.moves, roots)
        ]
    shown = jpeg_of(small(Image.fromarray(background), START_SIDE), 85)
    return {"source": regions.source, "moves": moves, "background": to_uri(shown, JPEG_URI_PREFIX)}


def _resized(array: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """(H, W) bool or (H, W, 3) uint8 as of another size (height, width)."""
    if array.shape[:2] == tuple(size):
        return array
    if array.dtype == bool:
        return cv2.resize(array.astype(np.uint8) * 255, (size[1], size[0]), interpolation=cv2.INTER_LINEAR) > 127
    return cv2.resize(array, (size[1], size[0]), interpolation=cv2.INTER_AREA)


def _only(fields: Mapping[str, Any], *names: str) -> None:
    unknown = sorted(set(fields) - set(names))
    if unknown:
        raise InputError(f"Unknown field '{unknown[0][:80]}'; the fields are: {', '.join(names)}.")


def _points(value: Any, what: str, most: int) -> list[Point]:
    points = [_point(item, what) for item in value] if isinstance(value, (list, tuple)) else [_point(value, what)]
    if len(points) > most:
        raise InputError(f"{what} has {len(points)} points; the most is {most}.")
    return points


def _point(item: Any, what: str) -> Point:
    if isinstance(item, list) and len(item) == 2 and all(map(_is_place, item)):
        return float(item[0]), float(item[1])
    raise InputError(f"{what} holds points [x, y] in pixels.")


def _is_place(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < FARTHEST


def _strokes(value: Any, what: str) -> list[Stroke]:
    if not isinstance(value, (list, tuple)) or len(value) > MAX_STROKES:
        raise InputError(f"{what} is a list of at most {MAX_STROKES} strokes.")
    strokes = []
    for one in value:
        radius = one.get("radius") if isinstance(one, dict) else None
        if isinstance(radius, bool) or not isinstance(radius, (int, float)) or not 0 < radius < FARTHEST:
            raise InputError(f"{what} holds strokes {{radius, points}} with a radius above 0 in pixels.")
        points = _points(one.get("points"), f"{what} of a stroke", MAX_STROKE_POINTS)
        if points:
            strokes.append(Stroke(float(radius), tuple(points)))
    return strokes
