"""Bodies of requests: JSON or a multipart form, read and checked here and not by pydantic models.

So a mistake is answered in the words of the command line, and nothing depends on the host's pydantic.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import AsyncGenerator
from typing import Any

from fastapi import Request
from starlette.formparsers import MultiPartParser

from ..sdk.errors import InputError

MAX_BODY = 64 * 2**20


class BodyError(Exception):
    """A body that cannot be read: status and one sentence."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


async def edit_fields(request: Request) -> tuple[bytes, bytes | None, dict[str, Any]]:
    """The picture's file, the mask's file, and the other fields, from JSON or a form."""
    if _content_type(request) == "multipart/form-data":
        return await _form_fields(request)
    fields = await json_body(request)
    image, mask = fields.pop("image", None), fields.pop("mask", None)
    if image is None:
        raise InputError("There is no image; give a picture file in base64.")
    return _decode(image, "image"), None if mask is None else _decode(mask, "mask"), fields


async def _form_fields(request: Request) -> tuple[bytes, bytes | None, dict[str, Any]]:
    data = await _body(request)

    async def stream() -> AsyncGenerator[bytes, None]:
        yield data

    try:
        form = await MultiPartParser(request.headers, stream()).parse()
    except Exception as error:  # python-multipart raises errors of its own
        raise BodyError(400, f"The form cannot be read ({error}).") from None
    files: dict[str, bytes] = {}
    text = "{}"
    for name, value in form.multi_items():
        content = value if isinstance(value, str) else await value.read()
        if name in ("image", "mask"):
            files[name] = content.encode() if isinstance(content, str) else content
        elif name == "request":
            text = content if isinstance(content, str) else content.decode("utf-8", "replace")
        else:
            raise InputError(f"Unknown form field '{name[:80]}'; the fields are image, mask and request.")
    await form.close()
    if "image" not in files:
        raise InputError("There is no image; send a picture file as the field image.")
    fields = _parse(text.encode())
    if "mask" in fields or "image" in fields:
        raise InputError("In a form, image and mask are files and not part of the request.")
    return files["image"], files.get("mask"), fields


async def json_body(request: Request) -> dict[str, Any]:
    """The fields of a JSON object."""
    if _content_type(request) != "application/json":
        # A plain form or text could be sent by any page; JSON makes the browser ask first.
        raise BodyError(415, "Send JSON with the content type application/json, or a multipart form.")
    return _parse(await _body(request))


def _content_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _parse(data: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BodyError(400, f"The body is not valid JSON ({error}).") from None
    if not isinstance(fields, dict):
        raise InputError("The body must be a JSON object.")
    return fields


async def _body(request: Request) -> bytes:
    """The whole body, refused as soon as it is too large."""
    too_large = BodyError(413, f"The body is larger than {MAX_BODY // 2**20} MB; make the picture smaller.")
    declared = request.headers.get("content-length")
    if declared is None:
        raise BodyError(411, "Send the length of the body.")
    if not re.fullmatch("[0-9]{1,12}", declared) or int(declared) > MAX_BODY:
        raise too_large
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_BODY:
            raise too_large
        parts.append(part)
    return b"".join(parts)


def _decode(value: Any, what: str) -> bytes:
    """base64, with or without `data:...;base64,`. Never a path or an address."""
    if not isinstance(value, str):
        raise InputError(f"The {what} must be a picture file in base64.")
    if value.startswith("data:"):
        value = value.partition(",")[2]
    try:
        data = base64.b64decode("".join(value.split()), validate=True)
    except ValueError:
        raise InputError(f"The {what} is not valid base64.") from None
    if not data:
        raise InputError(f"The {what} is empty.")
    return data


def flag(fields: dict[str, Any], name: str, default: bool) -> bool:
    """Take a true or false out of the fields."""
    value = fields.pop(name, default)
    if not isinstance(value, bool):
        raise InputError(f"{name} is true or false.")
    return value
