"""Requests from files and to files: our own, DragBench's and Drag100's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..sdk.errors import InputError
from ..sdk.picture.exports import drag100, dragbench
from ..sdk.picture.requests import parse_request
from ..sdk.request import Request
from .limits import check_count, check_prompt, check_request
from .pictures import DECODING, Pictures

MAX_REQUEST_FILE = 16 * 2**20  # bytes; a mask of four megapixels in numbers of four bytes
FORMATS = ("request", "dragbench", "drag100")


def request_in(data: bytes) -> dict[str, Any]:
    """What an uploaded file asks for: a pickle of DragBench, JSON of ours, Drag100's or other tools', or a PNG of ours.

    Of several requests the first. Raises InputError.
    """
    if len(data) > MAX_REQUEST_FILE:
        raise InputError(f"This file is larger than {MAX_REQUEST_FILE // 2**20} MB and so no request.")
    with DECODING:
        try:
            request, count = parse_request(data, Path("file"), 1)
        except RecursionError:
            raise InputError("The request is nested too deeply to be one.") from None
    if not request.drags:
        raise InputError("This file holds no drags; give a request with at least one handle point and its target.")
    check_count(len(request.drags))
    check_prompt(request.prompt)
    notes = [f"The file holds {count} requests; this is the first."] if count > 1 else []
    regions = (request.region,) if isinstance(request.region, str) else request.region or ()
    if not all(text.startswith("data:") for text in (request.mask or "data:", *regions)):
        request = replace(request, mask=None, region=None)
        notes.append("Its mask or region is a file of its own and was left out; paint it again.")
    return {"request": request.to_data(chosen=True), "note": " ".join(notes)}


def exported(pictures: Pictures, fields: Mapping[str, Any]) -> tuple[bytes, str, str]:
    """A file, its media type and its name. fields: format, picture (an id), and a request's, with masks as data URIs.

    Raises InputError, UnknownPictureError.
    """
    asked = dict(fields)
    kind, known = asked.pop("format", None), asked.pop("picture", None)
    if kind not in FORMATS:
        raise InputError(f"format is one of {', '.join(FORMATS)}.")
    if not isinstance(known, str):
        raise InputError("picture is the id of an uploaded picture.")
    request = Request.from_data(asked)
    picture = pictures.get(known)
    check_request(request, picture.size)
    if kind == "request":
        return json.dumps(request.to_data(), indent=2).encode(), "application/json", "dragtext-request.json"
    name = f"picture-{picture.id[:8]}"
    write = dragbench if kind == "dragbench" else drag100
    with DECODING:
        return write(picture.pixels, request, name), "application/zip", f"{kind}-{picture.id[:8]}.zip"
