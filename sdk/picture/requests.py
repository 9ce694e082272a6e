"""Requests in files: our own JSON, the PNG that an edit wrote, and the files that benchmarks and other tools write."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..request import Request
from .files import METADATA_KEY
from .masks import mask_to_uri
from .pickles import read_pickle
from .reading import open_picture

log = logging.getLogger("dragtext")

MAX_BYTES = 64 * 2**20
# What others call our source_points and target_points; in an object of its own under `points`, too.
HANDLES = ("handle_points", "handles", "handle", "source")
TARGETS = ("target_points", "targets", "target")
PICTURES = {b"\xff\xd8\xff": "JPEG", b"GIF8": "GIF", b"RIFF": "WebP", b"II*\0": "TIFF", b"MM\0*": "TIFF", b"BM": "BMP"}


def read_request(path: str | Path) -> Request:
    """Read a request. Its mask, where it has one, is a data URI or a path that can be opened from here.

    path: a JSON file of ours; a PNG that `EditResult.save` wrote; DragBench's `meta_data.pkl` (prompt, points, mask),
        of which only arrays, lists, text and numbers are read; Drag100's `points.json`; a bare list of drags;
        `handle_points` and `target_points`; or JSON lines, of which `FILE#3` is the third. Points are (x, y) pixels.

    Raises InputError.
    """
    path, number = _split(str(path))
    request, _ = parse_request(_read(path), path, number)
    return located(request, path)


def located(request: Request, path: Path) -> Request:
    """A request from the file `path` with its masks as data URIs, or as paths that can be opened from here."""
    regions = (request.region,) if isinstance(request.region, str) else request.region
    return replace(
        request,
        mask=None if request.mask is None else _from_here(request.mask, path),
        region=None if regions is None else tuple(_from_here(region, path) for region in regions),
    )


def parse_request(data: bytes, path: Path, number: int | None = None) -> tuple[Request, int]:
    """The same from a file's content, with masks as they stand in it; and how many requests it holds.

    path: what to call it; number: which of several, from 1 on. Raises InputError.
    """
    if data.startswith(b"\x89PNG"):
        text = getattr(open_picture(data, "request"), "text", {}).get(METADATA_KEY)
        if text is None:
            raise InputError(f"{path.name} carries no DragText request; give a .json file or a PNG written by an edit.")
        return Request.from_json(text), 1
    for magic, kind in PICTURES.items():
        if data.startswith(magic):
            raise InputError(
                f"The request {path} is a {kind} picture, which carries none; give a .json file or a PNG written by an "
                "edit, and pictures as IMAGE or --mask."
            )
    if data.startswith(b"\x80") or path.suffix.lower() in (".pkl", ".pickle"):
        items = _several(read_pickle(data, path.name))
    else:
        items = _read_text(data, path)
    return Request.from_data(_as_ours(_choose(items, number, path), path)), len(items)


def _from_here(mask: str, path: Path) -> str:
    """A mask's path, relative to the request's file, as one that can be opened from here; a data URI as it is."""
    return mask if mask.startswith("data:") else str(path.parent / mask)


def _split(text: str) -> tuple[Path, int | None]:
    """`FILE#3` as the file and the number, unless a file has that very name."""
    path, numbered = Path(text), re.fullmatch(r"(.+)#(\d{1,9})", text, re.DOTALL)
    try:
        if numbered and not path.exists():
            return Path(numbered[1]), int(numbered[2])
    except (OSError, ValueError):
        pass  # a name that cannot be; reading says so
    return path, None


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"The request {path} is larger than {MAX_BYTES // 2**20} MB; it is none.")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        raise InputError(f"The request {path} cannot be read ({getattr(error, 'strerror', None) or error}).") from None


def _read_text(data: bytes, path: Path) -> list[Any]:
    """The requests in JSON or JSON lines, in UTF-8, UTF-16 or UTF-32 with or without a mark at the beginning."""
    try:
        text = data.decode(json.detect_encoding(data))
    except UnicodeDecodeError:
        raise InputError(
            f"The request {path} is no text; give a .json file, a PNG written by an edit, or DragBench's meta_data.pkl."
        ) from None
    try:
        return _several(json.loads(text))
    except RecursionError:
        raise InputError(f"The request {path} is nested too deeply to be one.") from None
    except ValueError as error:
        lines = [line for line in text.splitlines() if line.strip()]
        try:
            if len(lines) > 1:
                return [json.loads(line) for line in lines]
        except (ValueError, RecursionError):
            pass  # no JSON lines either; what is wrong with it as JSON says more
        raise InputError(f"The request {path} is not valid JSON ({error}).") from None


def _several(data: Any) -> list[Any]:
    """A list of requests as such; everything else is one request."""
    drag = {*HANDLES, *TARGETS}
    if isinstance(data, list) and data and all(isinstance(item, dict) and not set(item) <= drag for item in data):
        return data
    return [data]


def _choose(items: list[Any], number: int | None, path: Path) -> Any:
    if number is None and len(items) == 1:
        return items[0]
    if number is None or not 1 <= number <= len(items):
        held = "one request" if len(items) == 1 else f"{len(items)} requests"
        raise InputError(f"The file {path} holds {held}; give one from {path}#1 to {path}#{len(items)}.")
    return items[number - 1]


def _as_ours(data: Any, path: Path) -> Any:
    """What others write under the names of ours. A file of ours is left as it is, so that a slip in it is noticed."""
    if isinstance(data, (list, np.ndarray)):
        return {"drags": _drags(data)}
    if not isinstance(data, Mapping):
        return data
    fields = dict(data)
    points = fields.pop("points", None)
    if points is None and not set(fields) & {*HANDLES, *TARGETS} - {"target_points"}:
        return _with_mask(data, path)
    ours = {name: fields.pop(name) for name in ("prompt", "mask", "settings") if name in fields}
    two_lists = points if isinstance(points, Mapping) else fields
    for name, others in (("source_points", ("source_points", *HANDLES)), ("target_points", TARGETS)):
        for other in others:
            if other in two_lists:
                ours[name] = _many(_listed(two_lists[other]))
                fields.pop(other, None)
    if points is not None and not isinstance(points, Mapping):
        ours["drags"] = _drags(points)
    if fields:
        log.warning("Of %s these fields are not used: %s.", path.name, ", ".join(map(str, fields)))
    return _with_mask(ours, path)


def _with_mask(data: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """A mask of numbers, (H, W) or (H, W, channels) with what is above 0 editable, as a data URI."""
    mask = data.get("mask")
    if not isinstance(mask, (list, np.ndarray)):
        return dict(data)
    try:
        array = np.asarray(mask)
        editable = array > 0
    except (ValueError, TypeError):
        raise InputError(f"The mask in {path.name} is no table of numbers.") from None
    if array.ndim == 3:
        editable = editable.any(axis=-1)
    if editable.ndim != 2 or 0 in editable.shape:
        raise InputError(f"The mask in {path.name} must be (height, width), not of shape {array.shape}.")
    return {**data, "mask": mask_to_uri(editable)}


def _listed(value: Any) -> Any:
    """Arrays as lists."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    return [_listed(item) for item in value] if isinstance(value, list) else value


def _drags(points: Any) -> Any:
    """A list of drags or points in which a drag may be an object under others' names."""
    points = _listed(points)
    if not isinstance(points, list):
        return points
    return [_drag(item) if isinstance(item, dict) else item for item in points]


def _drag(item: dict[str, Any]) -> Any:
    handle, target = (next((item[n] for n in names if n in item), None) for names in (HANDLES, TARGETS))
    return item if handle is None or target is None else [_listed(handle), _listed(target)]


def _many(points: Any) -> Any:
    """One point as a list of one."""
    is_point = isinstance(points, list) and len(points) == 2 and not any(isinstance(v, list) for v in points)
    return [points] if is_point else points
