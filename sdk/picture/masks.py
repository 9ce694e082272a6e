"""Masks: what may change. True means may change, everywhere in this project."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from ..errors import InputError
from .reading import open_picture

URI_PREFIX = "data:image/png;base64,"


def load_mask(source: Any, size: tuple[int, int]) -> np.ndarray:
    """(H, W) bool, true where the image may change. Any positive value of any colour counts; alpha does not.

    source: path, PIL image, HxW array, bytes, or a `data:image/png;base64,` URI; size: (height, width) of the image.
    """
    if isinstance(source, np.ndarray):
        numbers = source.dtype == bool or np.issubdtype(source.dtype, np.integer) or source.dtype.kind == "f"
        if not numbers or source.ndim not in (2, 3) or 0 in source.shape:
            raise InputError(f"A mask array must be HxW numbers, not {source.dtype} of shape {source.shape}.")
        array = source if source.ndim == 2 else source[..., :3].max(axis=-1)
        if np.isnan(array.astype(np.float64)).any():
            raise InputError("The mask holds NaN; use 0 for keep and 255 for may change.")
    else:
        if isinstance(source, str) and source.startswith("data:"):
            source = _from_uri(source)
        picture = open_picture(source, "mask")
        try:
            picture = ImageOps.exif_transpose(picture) or picture
            gray = picture.mode in ("1", "L", "F") or picture.mode.startswith("I")
            # The largest channel, since a faint colour has no brightness left after rounding.
            array = np.array(picture) if gray else np.array(picture.convert("RGB")).max(axis=-1)
        except (OSError, ValueError, SyntaxError) as error:
            raise InputError(f"The mask cannot be decoded ({error}); save it again as PNG.") from None
    if array.shape != tuple(size):
        raise InputError(
            f"The mask is {array.shape[1]}x{array.shape[0]} pixels but the image is {size[1]}x{size[0]}; "
            "they must be the same size."
        )
    mask = array > 0
    if not mask.any():
        raise InputError("The mask is empty; paint what may change, or leave the mask out to let everything change.")
    return mask


def mask_to_uri(mask: np.ndarray) -> str:
    """(H, W) bool as a one-bit PNG in a data URI, small enough for metadata."""
    buffer = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8) * 255).convert("1").save(buffer, "PNG", optimize=True)
    return URI_PREFIX + base64.b64encode(buffer.getvalue()).decode()


def _from_uri(uri: str) -> bytes:
    if not uri.startswith(URI_PREFIX):
        raise InputError(f"A mask in text form must begin with {URI_PREFIX}")
    try:
        return base64.b64decode(uri[len(URI_PREFIX) :], validate=True)
    except ValueError:
        raise InputError("The mask is not valid base64.") from None
