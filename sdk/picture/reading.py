"""Pictures at the door: from a path, PIL image, array or bytes to colours and alpha."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import struct
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ..errors import InputError
from .colour import read_colours, to_srgb
from .modes import split_alpha
from .transparency import backdrop, fill_behind, is_cutout

log = logging.getLogger("dragtext")

MIN_SIDE = 64
MAX_PIXELS = 64_000_000  # what the model works on is scaled down anyway; below Pillow's own alarm
MAX_FILE_BYTES = 256 * 2**20
# The one list of formats that are read anywhere, as Pillow names them. Its other decoders are seldom used, little
# tested and, for EPS, start another program. AVIF and HEIF are read where Pillow or a plug-in of it can.
PICTURE_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "HEIF")
_OTHERS = {
    b"%!PS": "EPS or PostScript",
    b"\xc5\xd0\xd3\xc6": "EPS",
    b"%PDF": "PDF",
    b"8BPS": "Photoshop",
    b"<svg": "SVG",
    b"<?xml": "SVG or XML",
    b"\0\0\0\x0cjP": "JPEG 2000",
    b"gimp": "GIMP",
}
_DECODING = (OSError, ValueError, SyntaxError, EOFError, KeyError, IndexError, TypeError, OverflowError, struct.error)


@dataclass(frozen=True)
class LoadedImage:
    """A picture as it was read.

    rgb: (H, W, 3) uint8, its colours in sRGB. alpha: (H, W) uint8, or None where nothing is transparent.
    profile: the ICC profile that is written back, or None. own: (H, W, 3) uint8, the picture's numbers as that profile
    means them; None where they are those of `rgb`. notes: sentences for the user about what reading it did.
    """

    rgb: np.ndarray
    alpha: np.ndarray | None
    profile: bytes | None = None
    own: np.ndarray | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def of_numbers(cls, numbers: np.ndarray, alpha: np.ndarray | None, profile: bytes | None) -> LoadedImage:
        """From what `numbers`, `alpha` and `profile` of another one were."""
        converted = None if profile is None else to_srgb(numbers, profile)
        return cls(numbers, alpha, profile) if converted is None else cls(converted, alpha, profile, numbers)

    @property
    def numbers(self) -> np.ndarray:
        """(H, W, 3) uint8 in the picture's own colour space: what is written back wherever nothing changes."""
        return self.rgb if self.own is None else self.own

    @cached_property
    def fingerprint(self) -> str:
        """Changes with everything that is seen or written back of it."""
        digest = hashlib.sha256(repr(self.rgb.shape).encode())
        alpha = None if self.alpha is None else self.alpha.tobytes()
        for part in (self.numbers.tobytes(), alpha, self.profile):
            digest.update(b"-" if part is None else hashlib.sha256(part).digest())
        return digest.hexdigest()

    @cached_property
    def backdrop(self) -> tuple[int, int, int] | None:
        """The one colour that stands behind a cut-out while it is edited; None for all other pictures."""
        if self.alpha is None or not is_cutout(self.alpha):
            return None
        return backdrop(self.rgb, self.alpha)

    @cached_property
    def visible(self) -> np.ndarray:
        """(H, W, 3) uint8 sRGB, what a model sees: no colour that transparency hides."""
        return self.rgb if self.alpha is None else fill_behind(self.rgb, self.alpha, self.backdrop)


def load_image(source: Any) -> LoadedImage:
    """Read a picture from a path, PIL image, HxWx3 or HxWx4 uint8 RGB array, or a picture file's bytes.

    EXIF orientation is applied, 16-bit and float pictures are scaled to 0..255, colours are converted to sRGB. What a
    user should know of that stands in `notes` and is logged. A `LoadedImage` is returned as it is. Raises InputError
    for anything unreadable, a format that is not in PICTURE_FORMATS, under 64 px on a side or over 64 megapixels.
    """
    if isinstance(source, LoadedImage):
        return source
    array = isinstance(source, np.ndarray)
    picture = _array_picture(source) if array else open_picture(source, "image", check_size)
    check_size(*picture.size)
    notes = _frames_note(picture)
    profile, deep_png = picture.info.get("icc_profile"), picture.format == "PNG"
    try:
        picture = upright(picture)
        colours, alpha, more = split_alpha(picture, deep_png)
        read = read_colours(colours, profile)
    except _DECODING as error:
        raise InputError(f"The image cannot be decoded ({error}); save it again as PNG or JPEG.") from None
    if alpha is not None and alpha.min() == 255:
        alpha = None
    notes += more + read.notes
    for note in notes:
        log.warning(note)
    return LoadedImage(read.rgb, alpha, read.profile, read.own, notes)


def to_pil(rgb: np.ndarray, alpha: np.ndarray | None) -> Image.Image:
    """(H, W, 3) uint8 and the alpha of `load_image` as a PIL image."""
    picture = Image.fromarray(rgb)
    if alpha is not None:
        picture.putalpha(Image.fromarray(alpha))
    return picture


def open_picture(source: Any, what: str, check: Callable[[int, int], None] | None = None) -> Image.Image:
    """Open and fully decode a picture, or say in one sentence why not.

    what: how sentences call it. check: called with (width, height) before any pixel is decoded; may raise InputError.
    """
    if isinstance(source, Image.Image):
        return source
    if isinstance(source, (bytes, bytearray)):
        name, file = f"The {what}", io.BytesIO(source)
    elif isinstance(source, (str, os.PathLike)):
        file = Path(source)
        name = f"The {what} {file}"
        _check_file(file, what)
    else:
        raise InputError(f"The {what} must be a path, a PIL image, an array or bytes, not {type(source).__name__}.")
    Image.init()  # Pillow takes only formats that it has, and knows them all from here on
    formats = [kind for kind in PICTURE_FORMATS if kind in Image.OPEN]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # damaged EXIF data does no harm
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            picture = Image.open(file, formats=formats)
            if check is not None:
                check(*picture.size)
            with suppress(*_DECODING):  # older Pillows cannot read it any more once a TIFF is loaded
                picture.getexif()
            picture.load()
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise InputError(f"{name} has too many pixels; resize it to at most 64 megapixels first.") from None
    except UnidentifiedImageError:
        raise InputError(f"{name} is {_kind(file)} that can be read; save it as PNG, JPEG, WebP or TIFF.") from None
    except _DECODING as error:
        raise InputError(f"{name} cannot be read ({error}); it may be damaged, save it again.") from None
    return picture


def upright(picture: Image.Image) -> Image.Image:
    """As its EXIF orientation says."""
    try:
        return ImageOps.exif_transpose(picture) or picture
    except AttributeError:  # a TIFF that a caller has loaded and an older Pillow closed
        return picture


def check_size(width: int, height: int) -> None:
    """Raise InputError for a picture that is too small or too large to edit."""
    if width < MIN_SIDE or height < MIN_SIDE:
        raise InputError(f"The image is {width}x{height} pixels; each side must have at least {MIN_SIDE}.")
    if width * height > MAX_PIXELS:
        raise InputError(
            f"The image is {width}x{height} pixels; the most is {MAX_PIXELS / 1e6:.0f} megapixels, so resize it first."
        )


def _check_file(path: Path, what: str) -> None:
    try:
        if path.is_dir():
            raise InputError(f"The {what} {path} is a folder; give a picture file.")
        if not path.exists():
            raise InputError(f"The {what} {path} does not exist; check the path.")
        size = path.stat().st_size
    except OSError as error:  # a name that is too long, a folder that may not be searched
        raise InputError(f"The {what} {str(path)[:80]} cannot be opened ({error.strerror}).") from None
    if size > MAX_FILE_BYTES:
        raise InputError(f"The {what} {path} is larger than {MAX_FILE_BYTES // 2**20} MB; make it smaller first.")


def _kind(file: io.BytesIO | Path) -> str:
    """What a file is that no allowed decoder knows, in words."""
    head = b""
    with suppress(OSError):
        if isinstance(file, Path):
            with file.open("rb") as stream:
                head = stream.read(12)
        else:
            head = file.getvalue()[:12]
    if head[4:8] == b"ftyp":
        return "a HEIC, AVIF or video file and not a picture"
    found = next((kind for start, kind in _OTHERS.items() if head.startswith(start)), None)
    return "not a picture" if found is None else f"a file of the kind {found} and not a picture"


def _frames_note(picture: Image.Image) -> tuple[str, ...]:
    """That only the first of several frames or pages is edited. (The further pictures of an MPO are only previews.)"""
    several = False
    with suppress(Exception):  # counting reads on in a file that may be damaged behind its first frame
        several = picture.format != "MPO" and picture.tell() == 0 and bool(getattr(picture, "is_animated", False))
    what = "pages" if picture.format == "TIFF" else "frames"
    return (f"The picture has several {what}; only the first one is edited and written.",) if several else ()


def _array_picture(array: np.ndarray) -> Image.Image:
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] not in (3, 4):
        raise InputError(f"An image array must be HxWx3 uint8 in RGB order, not {array.dtype} of shape {array.shape}.")
    check_size(array.shape[1], array.shape[0])
    return Image.fromarray(np.ascontiguousarray(array))
