"""Pictures at the door and on the way out: reading, masks, safe writing, and the request inside a PNG."""

from __future__ import annotations

import base64
import io
import os
import tempfile
import warnings
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, PngImagePlugin, UnidentifiedImageError

from .errors import InputError
from .request import Request

MIN_SIDE = 64
MAX_PIXELS = 64_000_000  # what the model works on is scaled down anyway; below Pillow's own alarm
MAX_FILE_BYTES = 256 * 2**20
METADATA_KEY = "dragtext"
URI_PREFIX = "data:image/png;base64,"
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}


@dataclass(frozen=True)
class LoadedImage:
    """rgb: (H, W, 3) uint8; alpha: (H, W) uint8, or None for an opaque picture."""

    rgb: np.ndarray
    alpha: np.ndarray | None


def load_image(source: Any) -> LoadedImage:
    """Read a picture from a path, PIL image, HxWx3 or HxWx4 uint8 RGB array, or a picture file's bytes.

    EXIF orientation is applied. Raises InputError for anything unreadable, under 64 px on a side or over 64 megapixels.
    """
    picture = _array_picture(source) if isinstance(source, np.ndarray) else _open(source, "image")
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
        picture = _open(source, "mask")
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


def to_pil(rgb: np.ndarray, alpha: np.ndarray | None) -> Image.Image:
    """(H, W, 3) uint8 and the alpha of `load_image` as a PIL image."""
    picture = Image.fromarray(rgb)
    if alpha is not None:
        picture.putalpha(Image.fromarray(alpha))
    return picture


def check_output(path: str | Path, has_alpha: bool = False) -> Path:
    """Make sure, before any work, that a picture can be written to `path`."""
    path = Path(path)
    if "\0" in str(path):
        raise InputError("The output's name holds a zero character; give another name.")
    if path.suffix.lower() not in FORMATS:
        raise InputError(f"The output {path.name} must end in one of {', '.join(FORMATS)}.")
    if has_alpha and FORMATS[path.suffix.lower()] == "JPEG":
        raise InputError("JPEG cannot keep the image's transparency; write a .png or .webp.")
    check_writable(path)
    return path


def check_writable(path: Path) -> None:
    """Raise InputError unless a file can be created or replaced at `path`."""
    try:
        if path.is_dir():
            raise InputError(f"The output {path} is a folder; give a file name.")
        path.exists()  # a name too long for the file system is noticed here
        handle, probe = tempfile.mkstemp(dir=path.parent, prefix=".dragtext-")
    except OSError as error:
        raise InputError(f"The output folder {path.parent} cannot be written ({error.strerror}).") from None
    os.close(handle)
    Path(probe).unlink()


def write_atomically(path: Path, write: Any) -> Path:
    """Call `write(temporary_path)` and move the finished file into place; nothing is left behind on failure."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".dragtext-", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp makes files that only their owner can read
        temporary.replace(path)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()
    return path


def save_image(image: Image.Image, path: str | Path, request: Request | None = None) -> Path:
    """Write a picture by its suffix; a PNG carries the request. Raises InputError where that is impossible."""
    path = check_output(path, "A" in image.getbands())
    options: dict[str, Any] = {"PNG": {}, "JPEG": {"quality": 95}, "WEBP": {"quality": 95}}[
        FORMATS[path.suffix.lower()]
    ]
    if request is not None and FORMATS[path.suffix.lower()] == "PNG":
        options["pnginfo"] = PngImagePlugin.PngInfo()
        options["pnginfo"].add_itxt(METADATA_KEY, request.to_json())
    try:
        return write_atomically(path, lambda temporary: image.save(temporary, **options))
    except OSError as error:
        raise InputError(f"The output {path} cannot be written ({error}).") from None


def read_request(path: str | Path) -> Request:
    """Read a request from a JSON file, or from a PNG that `EditResult.save` wrote."""
    path = Path(path)
    if path.suffix.lower() == ".png":
        picture = _open(path, "request")
        text = getattr(picture, "text", {}).get(METADATA_KEY)
        if text is None:
            raise InputError(f"{path.name} carries no DragText request; give a .json file or a PNG written by an edit.")
        return Request.from_json(text)
    try:
        return Request.from_json(path.read_text(encoding="utf-8-sig"))  # some editors put a mark at the beginning
    except RecursionError:
        raise InputError(f"The request {path} is nested too deeply to be one.") from None
    except (OSError, ValueError) as error:
        raise InputError(f"The request {path} cannot be read ({error}).") from None


def _open(source: Any, what: str) -> Image.Image:
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


def _from_uri(uri: str) -> bytes:
    if not uri.startswith(URI_PREFIX):
        raise InputError(f"A mask in text form must begin with {URI_PREFIX}")
    try:
        return base64.b64decode(uri[len(URI_PREFIX) :], validate=True)
    except ValueError:
        raise InputError("The mask is not valid base64.") from None
