"""Uploaded pictures: kept as the files that came, under an id, within a budget. Decoded only to be looked at.

Also the PNG files that results are handed out as.
"""

from __future__ import annotations

import hashlib
import io
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from ..sdk.errors import DragTextError
from ..sdk.picture.masks import to_uri
from ..sdk.picture.reading import PICTURE_FORMATS, load_image, to_pil

BUDGET = 256 * 2**20  # bytes of files that no edit refers to
SHOWN_SIDE = 1024
# A small file can decode to hundreds of megabytes, so only this many are open at a time.
DECODING = threading.BoundedSemaphore(2)


class UnknownPictureError(DragTextError):
    """There is no such picture, or no longer."""


@dataclass(frozen=True)
class Picture:
    """A picture that can be opened. id: of this file and no other; data: the file; size: (height, width) as it is seen;
    thumbnail: a JPEG of at most SHOWN_SIDE pixels a side, to draw on; note: what there is to say about reading it."""

    id: str
    data: bytes
    size: tuple[int, int]
    thumbnail: bytes
    note: str = ""

    @property
    def uri(self) -> str:
        """The file as a request names a mask or a region."""
        return to_uri(self.data)

    @property
    def pixels(self) -> np.ndarray:
        """(H, W, 3) uint8 sRGB without the colours that transparency hides. Takes time and memory: see `DECODING`."""
        return load_image(self.data).visible


def read_picture(source: Any) -> Picture:
    """Open a picture once, to know that it can be and how large it is. source: as for `Editor`, but no path.

    Raises InputError for what cannot be used.
    """
    with DECODING:
        loaded = load_image(source)
        data = bytes(source) if isinstance(source, (bytes, bytearray)) else png_of(source)
        shown = small(Image.fromarray(loaded.rgb), SHOWN_SIDE)
        note = " ".join(loaded.notes)
        return Picture(hashlib.sha256(data).hexdigest()[:40], data, loaded.rgb.shape[:2], jpeg_of(shown), note)


def view_of(picture: Picture, side: int) -> tuple[bytes, str]:
    """The picture as it is seen, at most `side` pixels a side, as a file of the media type that comes with it: JPEG, or
    PNG where it has transparency."""
    with DECODING:
        loaded = load_image(picture.data)
        shown = small(to_pil(loaded.rgb, loaded.alpha), side)
    if loaded.alpha is None:
        return jpeg_of(shown, 92), "image/jpeg"
    return png_of(shown), "image/png"


def kind_of(data: bytes) -> tuple[str, str]:
    """Media type and ending of a picture's file, by what it is and not by its name."""
    formats = [kind for kind in PICTURE_FORMATS if kind in Image.OPEN]
    try:
        kind = Image.open(io.BytesIO(data), formats=formats).format or ""
    except (OSError, ValueError, SyntaxError):
        return "application/octet-stream", "bin"
    media = Image.MIME.get(kind, "application/octet-stream")
    return media, {"JPEG": "jpg", "TIFF": "tif"}.get(kind, kind.lower() or "bin")


def file_name(picture: Picture) -> str:
    """What the file of an uploaded picture is called where it is saved."""
    return f"picture-{picture.id[:8]}.{kind_of(picture.data)[1]}"


def png_of(picture: Image.Image | np.ndarray) -> bytes:
    """A picture as a PNG file."""
    if isinstance(picture, np.ndarray):
        picture = Image.fromarray(picture)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def jpeg_of(picture: Image.Image, quality: int = 88) -> bytes:
    """A picture as a JPEG file, without its transparency."""
    buffer = io.BytesIO()
    picture.convert("RGB").save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def small(picture: Image.Image, side: int) -> Image.Image:
    """At most `side` pixels on the longer side."""
    picture = picture.copy()
    picture.thumbnail((side, side))
    return picture


class Pictures:
    """What was uploaded lately; the oldest go first."""

    def __init__(self, budget: int = BUDGET) -> None:
        self._budget = budget
        self._kept: OrderedDict[str, Picture] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, source: Any) -> Picture:
        """Read a picture and keep it. Raises InputError."""
        picture = read_picture(source)
        self.keep(picture)
        return picture

    def keep(self, picture: Picture) -> None:
        """Keep a picture as the newest."""
        with self._lock:
            self._kept[picture.id] = picture
            self._kept.move_to_end(picture.id)
            total = sum(len(kept.data) + len(kept.thumbnail) for kept in self._kept.values())
            while total > self._budget and len(self._kept) > 1:
                _, old = self._kept.popitem(last=False)
                total -= len(old.data) + len(old.thumbnail)

    def get(self, identifier: str) -> Picture:
        """Raises UnknownPictureError."""
        with self._lock:
            picture = self._kept.get(identifier)
            if picture is not None:
                self._kept.move_to_end(identifier)
        if picture is None:
            raise UnknownPictureError("This picture was uploaded too long ago or never; upload it again.")
        return picture


def png_file(picture: Image.Image, infotext: str, records: Mapping[str, str]) -> bytes:
    """A PNG file with its infotext and records."""
    from PIL.PngImagePlugin import PngInfo

    information = PngInfo()
    information.add_itxt("parameters", infotext)
    for name, text in records.items():
        information.add_itxt(name, text)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", pnginfo=information)
    return buffer.getvalue()
