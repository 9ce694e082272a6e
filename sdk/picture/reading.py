"""Pictures at the door: from a path, PIL image, array or bytes to RGB and alpha."""

from __future__ import annotations

import io
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ..errors import InputError

MIN_SIDE = 64
MAX_PIXELS = 64_000_000  # what the model works on is scaled down anyway; below Pillow's own alarm
MAX_FILE_BYTES = 256 * 2**20


@dataclass(frozen=True)
class LoadedImage:
    """rgb: (H, W, 3) uint8; alpha: (H, W) uint8, or None for an opaque picture."""

    rgb: np.ndarray
    alpha: np.ndarray | None


def load_image(source: Any) -> LoadedImage:
    """Read a picture from a path, PIL image, HxWx3 or HxWx4 uint8 RGB array, or a picture file's bytes.

    EXIF orientation is applied. Raises InputError for anything unreadable, under 64 px on a side or over 64 megapixels.
    """
    picture = _array_picture(source) if isinstance(source, np.ndarray) else open_picture(source, "image")
    _check_size(*picture.size)
    try:
        picture = ImageOps.exif_transpose(picture) or picture
        alpha = None
        if picture.mode in ("LA", "PA", "RGBA", "RGBa") or "transparency" in picture.info:
            picture = picture.convert("RGBA")
            alpha = np.array(picture.getchannel("A"))
        if picture.mode.startswith("I") or picture.mode == "F":
            picture = _to_eight_bits(picture)
        return LoadedImage(np.array(picture.convert("RGB")), alpha)
    except (OSError, ValueError, SyntaxError) as error:
        raise InputError(f"The image cannot be decoded ({error}); save it again as PNG or JPEG.") from None


def to_pil(rgb: np.ndarray, alpha: np.ndarray | None) -> Image.Image:
    """(H, W, 3) uint8 and the alpha of `load_image` as a PIL image."""
    picture = Image.fromarray(rgb)
    if alpha is not None:
        picture.putalpha(Image.fromarray(alpha))
    return picture


def open_picture(source: Any, what: str) -> Image.Image:
    """Open and fully decode a picture, or say in one sentence why not."""
    if isinstance(source, Image.Image):
        return source
    if isinstance(source, (bytes, bytearray)):
        name, file = f"The {what}", io.BytesIO(source)
    elif isinstance(source, (str, os.PathLike)):
        path = Path(source)
        name, file = f"The {what} {path}", path
        try:
            if path.is_dir():
                raise InputError(f"{name} is a folder; give a picture file.")
            if not path.exists():
                raise InputError(f"{name} does not exist; check the path.")
            size = path.stat().st_size
        except OSError as error:  # a name that is too long, a folder that may not be searched
            raise InputError(f"The {what} {str(path)[:80]} cannot be opened ({error.strerror}).") from None
        if size > MAX_FILE_BYTES:
            raise InputError(f"{name} is larger than {MAX_FILE_BYTES // 2**20} MB; make it smaller first.")
    else:
        raise InputError(f"The {what} must be a path, a PIL image, an array or bytes, not {type(source).__name__}.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # damaged EXIF data does no harm
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            picture = Image.open(file)
            if what == "image":
                _check_size(*picture.size)  # before the pixels are decoded
            picture.load()
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise InputError(f"{name} has too many pixels; resize it to at most 64 megapixels first.") from None
    except UnidentifiedImageError:
        raise InputError(f"{name} is not a picture that can be read; use PNG, JPEG or WebP.") from None
    except (OSError, ValueError, SyntaxError) as error:
        raise InputError(f"{name} cannot be read ({error}); it may be damaged, save it again.") from None
    return picture


def _array_picture(array: np.ndarray) -> Image.Image:
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] not in (3, 4):
        raise InputError(f"An image array must be HxWx3 uint8 in RGB order, not {array.dtype} of shape {array.shape}.")
    _check_size(array.shape[1], array.shape[0])
    return Image.fromarray(np.ascontiguousarray(array))


def _to_eight_bits(picture: Image.Image) -> Image.Image:
    """16-bit gray is scaled to 0..255; wider modes are taken as 0..255 unless they exceed it."""
    values = np.array(picture).astype(np.float64)
    scale = 257.0 if picture.mode.startswith("I;16") or values.max(initial=0) > 255 else 1.0
    return Image.fromarray(np.clip(values / scale, 0, 255).astype(np.uint8))


def _check_size(width: int, height: int) -> None:
    if width < MIN_SIDE or height < MIN_SIDE:
        raise InputError(f"The image is {width}x{height} pixels; each side must have at least {MIN_SIDE}.")
    if width * height > MAX_PIXELS:
        raise InputError(
            f"The image is {width}x{height} pixels; the most is {MAX_PIXELS / 1e6:.0f} megapixels, so resize it first."
        )
