"""Bodies of requests: JSON, a multipart form or a file, read and checked here and not by pydantic models.

So a mistake is answered in the words of the command line, and nothing depends on the host's pydantic. Parsing is work:
it happens in a few threads of our own, never on the event loop, after what is cheap to refuse has been refused.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, TypeVar

from fastapi import Request
from starlette.formparsers import MultiPartParser

from ..sdk.errors import InputError
from ..sdk.picture.masks import to_uri
from .access import RefusedError

MAX_BODY = 64 * 2**20
MAX_VALUES = 20_000  # commas and brackets of a JSON body; 100 drags and all settings need about 700
MAX_PARTS = 8  # of a form; three are used
MAX_DIGITS = 40  # of one number
THREADS = 3

T = TypeVar("T")


@lru_cache(maxsize=1)
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(THREADS, thread_name_prefix="dragtext-http")


async def in_thread(work: Callable[..., T], *arguments: Any) -> T:
    """Run what takes time in one of our few threads; the host's own stay free."""
    return await asyncio.get_running_loop().run_in_executor(_threads(), lambda: work(*arguments))


async def edit_fields(request: Request) -> tuple[bytes | None, dict[str, Any]]:
    """The picture's file, and the other fields with mask and regions as data URIs, from JSON or a form. No file where
    an id of an uploaded picture stands in its place."""
    kind = _content_type(request)
    if kind == "multipart/form-data":
        return await in_thread(_form_fields, request.headers, await body(request))
    _want_json(kind)
    return await in_thread(_json_fields, await body(request))


async def json_body(request: Request) -> dict[str, Any]:
    """The fields of a JSON object."""
    _want_json(_content_type(request))
    return await in_thread(_parse, await body(request))


async def masked_body(request: Request) -> dict[str, Any]:
    """The same, in which mask and region are picture files in base64: as data URIs, and so never paths."""
    _want_json(_content_type(request))
    data = await body(request)
    return await in_thread(lambda: with_uris(_parse(data)))


async def file_body(request: Request, *more: str) -> bytes:
    """A picture file that is the whole body; more: what else it may be, as content types."""
    kind = _content_type(request)
    if not kind.startswith("image/") and kind not in ("application/octet-stream", *more):
        raise RefusedError(415, "Send the file itself, with its content type, for example image/png.")
    data = await body(request)
    if not data:
        raise InputError("The file is empty.")
    return data


async def body(request: Request) -> bytes:
    """The whole body, refused as soon as it is too large."""
    too_large = RefusedError(413, f"The body is larger than {MAX_BODY // 2**20} MB; make the picture smaller.")
    declared = request.headers.get("content-length")
    if declared is None:
        raise RefusedError(411, "Send the length of the body.")
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


def _json_fields(data: bytes) -> tuple[bytes | None, dict[str, Any]]:
    fields = _parse(data)
    image = fields.pop("image", None)
    if image is None and "picture" not in fields:
        raise InputError("There is no image; give a picture file in base64.")
    if image is not None and "picture" in fields:
        raise InputError("Give an image or the id of an uploaded picture, not both.")
    return None if image is None else _decode(image, "image"), with_uris(fields)


def with_uris(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields with mask and regions, which are picture files in base64, as data URIs. Raises InputError."""
    found = dict(fields)
    if found.get("mask") is not None:
        found["mask"] = _uri(found["mask"], "mask")
    region = found.get("region")
    if isinstance(region, list):
        found["region"] = [_uri(one, "region") for one in region]
    elif region is not None:
        found["region"] = _uri(region, "region")
    return found


def _uri(value: Any, what: str) -> str:
    return to_uri(_decode(value, what))


def _form_fields(headers: Any, data: bytes) -> tuple[bytes | None, dict[str, Any]]:
    boundary = re.search(r'boundary="?([^";,]{1,200})', headers.get("content-type", ""))
    if boundary and data.count(b"--" + boundary[1].encode()) > MAX_PARTS + 1:
        raise InputError("The form has too many fields; they are image, mask and request.")
    # The parser is asynchronous for the sake of streams; all is here already, and this thread has no loop.
    return asyncio.run(_read_form(headers, data))


async def _read_form(headers: Any, data: bytes) -> tuple[bytes | None, dict[str, Any]]:
    async def stream() -> AsyncGenerator[bytes, None]:
        yield data

    try:
        form = await MultiPartParser(headers, stream()).parse()
    except Exception as error:  # python-multipart raises errors of its own
        raise RefusedError(400, f"The form cannot be read ({error}).") from None
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
    fields = _parse(text.encode("utf-8", "replace"))
    if fields.keys() & {"image", "mask", "picture"}:
        raise InputError("In a form, image and mask are files and not part of the request.")
    fields = with_uris(fields)
    if "mask" in files:
        fields["mask"] = to_uri(files["mask"])
    return files["image"], fields


def _content_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _want_json(kind: str) -> None:
    if kind != "application/json":
        # A plain form or text could be sent by any page; JSON makes the browser ask first.
        raise RefusedError(415, "Send JSON with the content type application/json, or a multipart form.")


def _parse(data: bytes) -> dict[str, Any]:
    # json.loads holds the whole process while it runs; base64 has none of these marks, so this costs pictures nothing.
    if sum(data.count(mark) for mark in (b",", b"[", b"{")) > MAX_VALUES:
        raise InputError("The request holds too many values; the most are 100 drags and one value per setting.")
    try:
        fields = json.loads(data, parse_int=_integer, parse_float=_fraction)
    except (ValueError, RecursionError) as error:
        raise RefusedError(400, f"The body is not valid JSON ({error}).") from None
    if not isinstance(fields, dict):
        raise InputError("The body must be a JSON object.")
    return fields


def _integer(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError("a number has too many digits")
    return int(text)


def _fraction(text: str) -> float:
    if len(text) > MAX_DIGITS:
        raise ValueError("a number has too many digits")
    return float(text)


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
