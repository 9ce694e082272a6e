"""Masks: what may change. True means may change, everywhere in this project."""

from __future__ import annotations

import base64
import io
import logging
from typing import Any

import numpy as np
from PIL import Image

from ..errors import InputError
from .modes import split_alpha
from .reading import open_picture, upright

log = logging.getLogger("dragtext")

URI_PREFIX = "data:image/png;base64,"
JPEG_URI_PREFIX = "data:image/jpeg;base64,"
SENSIBLE_SHARE = 0.95  # a mask that lets more than this share of the picture change is hardly meant so


def load_mask(source: Any, size: tuple[int, int]) -> np.ndarray:
    """(H, W) bool, true where the image may change: what is brighter than the middle, by its brightest channel.

    The middle is 127.5 of 0..255, half of 65535 where values go beyond 255, and 0.5 of floats up to 1; in a mask of
    whole numbers up to 1, ones may change. Where a mask's colours are all alike and its transparency is not, what is
    opaque may change; where both carry a shape, what is bright and opaque. Such a choice is logged.

    source: path, PIL image, HxW array (or HxWxC: gray, gray and alpha, RGB, RGBA), bytes, or a
    `data:image/png;base64,` URI; size: (height, width) of the image.
    """
    mask, notes = read_mask(source, size)
    for note in notes:
        log.warning(note)
    return mask


def read_mask(source: Any, size: tuple[int, int]) -> tuple[np.ndarray, tuple[str, ...]]:
    """`load_mask`, with what it would log."""
    if isinstance(source, np.ndarray):
        values, alpha = _of_array(source)
    else:
        values, alpha = _of_picture(source, size)
    if values.shape[:2] != tuple(size):
        raise _other_size(values.shape[1], values.shape[0], size)
    if np.isnan(values.astype(np.float64)).any():
        raise InputError("The mask holds NaN; use 0 for keep and 255 for may change.")
    # The largest channel, since a faint colour has no brightness left after rounding.
    values = values if values.ndim == 2 else values.max(axis=-1)
    mask, notes = _bright(values), ()
    if alpha is not None:
        mask, notes = _with_alpha(mask, _bright(alpha))
    if not mask.any():
        raise InputError(
            f"The mask is empty: nothing in it is brighter than half (its brightest value is {values.max():g}); "
            "paint what may change in white, or leave the mask out to let everything change."
        )
    return mask, notes


def read_limits(source: Any, size: tuple[int, int]) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """`read_mask` of an edit's mask, where one that lets everything change is none: it limits nothing."""
    if source is None:
        return None, ()
    mask, notes = read_mask(source, size)
    if mask.all():
        return None, (*notes, "The mask lets everything change, so the edit is made as without one.")
    return mask, notes


def load_regions(source: Any, size: tuple[int, int]) -> list[np.ndarray]:
    """What the drags carry: none, one (H, W) bool for all of them, or one per drag, each read as a mask is."""
    if source is None:
        return []
    sources = list(source) if isinstance(source, (list, tuple)) else [source]
    try:
        return [load_mask(one, size) for one in sources]
    except InputError as error:
        raise InputError(f"The region cannot be used. {error}") from None


def mask_to_uri(mask: np.ndarray) -> str:
    """(H, W) bool as a one-bit PNG in a data URI, small enough for metadata."""
    buffer = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8) * 255).convert("1").save(buffer, "PNG", optimize=True)
    return to_uri(buffer.getvalue())


def to_uri(file: bytes, prefix: str = URI_PREFIX) -> str:
    """A file in a data URI."""
    return prefix + base64.b64encode(file).decode()


def _of_array(array: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Values (H, W) or (H, W, C) and alpha (H, W) or None."""
    numbers = array.dtype == bool or np.issubdtype(array.dtype, np.integer) or array.dtype.kind == "f"
    if not numbers or array.ndim not in (2, 3) or 0 in array.shape or (array.ndim == 3 and array.shape[2] > 4):
        raise InputError(f"A mask array must be HxW numbers, not {array.dtype} of shape {array.shape}.")
    if array.ndim == 2 or array.shape[2] in (1, 3):
        return array, None
    return array[..., :-1], array[..., -1]


def _of_picture(source: Any, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray | None]:
    if isinstance(source, str) and source.startswith("data:"):
        source = from_uri(source)

    def check(width: int, height: int) -> None:
        if (height, width) not in (tuple(size), tuple(size)[::-1]):  # EXIF may turn it
            raise _other_size(width, height, size)

    picture = open_picture(source, "mask", check)
    deep_png = picture.format == "PNG"
    try:
        picture = upright(picture)
        if picture.mode.startswith("I") or picture.mode == "F":
            return np.array(picture), None
        colours, alpha, _ = split_alpha(picture, deep_png)
        return np.array(colours if colours.mode == "L" else colours.convert("RGB")), alpha
    except (OSError, ValueError, SyntaxError) as error:
        raise InputError(f"The mask cannot be decoded ({error}); save it again as PNG.") from None


def _bright(values: np.ndarray) -> np.ndarray:
    """Bool of the same shape: above the middle of the smallest usual range that holds the values."""
    if values.dtype == bool:
        return values
    most = values.max(initial=0)
    if most <= 1:
        return values >= 0.5
    return values > (127.5 if most <= 255 else 32767.5 if most <= 65535 else most / 2)


def _with_alpha(bright: np.ndarray, opaque: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """The mask of a picture with transparency, and what to say of it; `bright`: its colours, also where hidden."""
    if opaque.all() or not opaque.any():
        return bright, ()  # transparency tells nothing
    seen = bright[opaque]
    if np.array_equal(bright, opaque):
        return opaque, ()
    if seen.all() or not seen.any():
        said = "The mask's shape was read from its transparency, as its colours have none: what is opaque may change."
        return opaque, (said,)
    said = "The mask has shapes in its colours and its transparency: what is both bright and opaque may change."
    return bright & opaque, (said,)


def _other_size(width: int, height: int, size: tuple[int, int]) -> InputError:
    return InputError(
        f"The mask is {width}x{height} pixels but the image is {size[1]}x{size[0]}; they must be the same size."
    )


def from_uri(uri: str) -> bytes:
    """The file that a `data:` URI of a mask holds."""
    if not uri.startswith(URI_PREFIX):
        raise InputError(f"A mask in text form must begin with {URI_PREFIX}")
    try:
        return base64.b64decode(uri[len(URI_PREFIX) :], validate=True)
    except ValueError:
        raise InputError("The mask is not valid base64.") from None
