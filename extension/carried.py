"""What an uploaded picture carries: the request of the edit that made it, or at least its prompt."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..sdk.errors import DragTextError, InputError
from ..sdk.picture.files import METADATA_KEY
from ..sdk.picture.masks import load_mask, load_regions
from ..sdk.picture.reading import open_picture
from ..sdk.request import Request
from .editing import V_KEY
from .infotext import Reading, read_infotext, read_request, read_v
from .job import EditJob
from .limits import MAX_INFOTEXT, MAX_PROMPT, check_request, sentence
from .originals import ITSELF, ORIGINAL_KEY
from .pictures import DECODING, Picture

EXIF, USER_COMMENT = 0x8769, 0x9286  # where hosts put the infotext of a JPEG or WebP
# The line of a host's infotext that ends its prompts.
PARAMETERS = re.compile(r"^(?:Negative prompt:|Steps: \d+)", re.M)


@dataclass(frozen=True)
class Carried:
    """request: None where there is none; original: id of the picture that it was made for, or ITSELF; v: the point that
    is shown, (of the image, of the text); note: what of it could not be used."""

    request: Request | None = None
    original: str = ""
    prompt: str = ""
    v: tuple[float, float] | None = None
    note: str = ""


def carried(picture: Picture, known: Callable[[str], EditJob | None]) -> Carried:
    """known: gives the finished edit of an id, where the page that asks may see it. Raises nothing for a picture that
    could be opened: what cannot be used is said in `note`."""
    with DECODING:
        opened = open_picture(picture.data, "image")
        text = _texts(opened)
    return carried_by(text, picture.size, known)


def carried_by(text: Mapping[str, str], size: tuple[int, int], known: Callable[[str], EditJob | None]) -> Carried:
    """As `carried`, of a picture's texts by key. size: of the picture, (height, width)."""
    try:
        if METADATA_KEY in text:
            reading = Reading(read_request(text[METADATA_KEY]), v=read_v(text.get(V_KEY, "1")))
        elif "DragText method: " in text.get("parameters", ""):
            reading = _whole(read_infotext(text["parameters"]), known)
        else:
            return Carried(prompt=_prompt_of(text.get("parameters", "")))
        request, note = usable(reading.request, size)
        if reading.masked and request.mask is None:
            note = note or "The mask is not in this picture's infotext; paint it again."
    except DragTextError as error:
        return Carried(prompt=_prompt_of(text.get("parameters", "")), note=sentence(error))
    return Carried(request, _original(text, reading, known), request.prompt, reading.v, note)


def _original(text: Mapping[str, str], reading: Reading, known: Callable[[str], EditJob | None]) -> str:
    """The id of the picture that the request was made for, as far as a picture's texts tell."""
    edit = known(reading.edit) if reading.edit else None
    if edit is not None and edit.picture is not None:
        return edit.picture.id
    named = text.get(ORIGINAL_KEY, "")
    return named if named == ITSELF or re.fullmatch("[0-9a-f]{40}", named) else ""


def usable(request: Request, size: tuple[int, int]) -> tuple[Request, str]:
    """The request for a picture of this size (height, width), and a sentence about what of it is left out: masks that
    are files, or of another size. Raises InputError where nothing fits."""
    check_request(request, size)
    regions = (request.region,) if isinstance(request.region, str) else request.region or ()
    if not all(text.startswith("data:") for text in (request.mask or "data:", *regions)):
        note = "The mask or region of this request is a file of its own and was left out; paint it again."
        return replace(request, mask=None, region=None), note
    try:
        with DECODING:
            if request.mask is not None:
                load_mask(request.mask, size)
            load_regions(regions, size)
    except InputError as error:
        return replace(request, mask=None, region=None), sentence(error)
    return request, ""


def _whole(reading: Reading, known: Callable[[str], EditJob | None]) -> Reading:
    """With what an infotext cannot hold, where the server still has it."""
    edit = known(reading.edit) if reading.edit else None
    if edit is not None and edit.result is not None and edit.request.drags == reading.request.drags:
        return replace(reading, request=edit.result.request)
    return reading


def _texts(opened: Any) -> dict[str, str]:
    text = {name: str(value)[:MAX_INFOTEXT] for name, value in getattr(opened, "text", {}).items()}
    if METADATA_KEY in text:
        text[METADATA_KEY] = str(opened.text[METADATA_KEY])
    if "parameters" not in text:
        try:
            comment = opened.getexif().get_ifd(EXIF).get(USER_COMMENT, b"")
        except Exception:  # damaged EXIF data does no harm
            comment = b""
        text["parameters"] = _comment(comment)
    return text


def _comment(comment: Any) -> str:
    """EXIF's user comment: eight characters that name its encoding, then the text."""
    if not isinstance(comment, bytes):
        return ""
    code, rest = comment[:8], comment[8 : 8 + 4 * MAX_INFOTEXT]
    if code == b"UNICODE\0":
        little = rest[1:2] == b"\0"  # no byte order is prescribed; text begins with a letter
        return rest.decode("utf-16-le" if little else "utf-16-be", "ignore")
    return rest.decode("utf-8", "ignore") if code in (b"ASCII\0\0\0", bytes(8)) else ""


def _prompt_of(infotext: str) -> str:
    found = PARAMETERS.search(infotext)
    if found is None:
        return ""
    return infotext[: found.start()].strip()[:MAX_PROMPT].encode("utf-8", "ignore").decode()
