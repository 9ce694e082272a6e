"""Writing: checked before the work, atomic, and with the request inside a PNG."""

from __future__ import annotations

import io
import os
import re
import struct
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from PIL import Image, PngImagePlugin
from safetensors import SafetensorError

from ..errors import InputError
from ..request import Request

METADATA_KEY = "dragtext"
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}


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
    except (OSError, ValueError) as error:
        raise InputError(f"The output folder {path.parent} cannot be written ({_reason(error)}).") from None
    os.close(handle)
    with suppress(OSError):
        Path(probe).unlink()


def make_folder(folder: Path) -> Path:
    """Make sure that the folder for several outputs is there. Raises InputError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise InputError(f"The output folder {folder} cannot be made ({_reason(error)}).") from None
    return folder


def write_atomically(path: Path, write: Callable[[Path], Any]) -> Path:
    """Call `write(temporary_path)` and move the finished file into place.

    Whatever keeps the file from being written (a full disk, a folder that has gone, a size that its format cannot
    hold) becomes an InputError that names `path`, and nothing is left behind.
    """
    temporary = None
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".dragtext-", suffix=path.suffix)
        os.close(handle)
        temporary = Path(name)
        write(temporary)
        umask = os.umask(0)
        os.umask(umask)
        with suppress(OSError):  # some file systems know no permissions
            temporary.chmod(0o666 & ~umask)  # mkstemp makes files that only their owner can read
        temporary.replace(path)
    except _FAILURES as error:
        raise InputError(f"The output {path} cannot be written ({_reason(error)}).") from error
    finally:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink()
    return path


def write_picture(path: Path, image: Image.Image, kind: str, **options: Any) -> Path:
    """`write_atomically` for a picture. kind: Pillow's name of the format; options: of its `save`."""

    def write(temporary: Path) -> None:
        # In memory first: Pillow's encoders do not notice when a file took only a part of what they wrote.
        encoded = io.BytesIO()
        image.save(encoded, format=kind, **options)
        temporary.write_bytes(encoded.getbuffer())

    return write_atomically(path, write)


# What writing raises: the system's errors, safetensors' own for the same, and what Pillow makes of a picture that is
# too large for its format.
_FAILURES = (OSError, SafetensorError, ValueError, struct.error)


def _reason(error: Exception) -> str:
    """The system's words, also from inside a message of safetensors, which spells them in Rust."""
    number = re.search(r"(?:code: |os error )(\d+)", str(error))
    if isinstance(error, SafetensorError) and number:
        return os.strerror(int(number[1]))
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def save_image(image: Image.Image, path: str | Path, request: Request | None = None) -> Path:
    """Write a picture by its suffix; a PNG carries the request. Raises InputError where that is impossible."""
    clear = "A" in image.getbands() and image.getchannel("A").histogram()[255] < image.width * image.height
    path = check_output(path, clear)
    if FORMATS[path.suffix.lower()] == "JPEG" and image.mode not in ("L", "RGB"):
        image = image.convert("RGB")
    options: dict[str, Any] = {"PNG": {}, "JPEG": {"quality": 95}, "WEBP": {"quality": 95}}[
        FORMATS[path.suffix.lower()]
    ]
    if image.info.get("icc_profile"):
        options["icc_profile"] = image.info["icc_profile"]  # only PNG would take it by itself
    if request is not None and FORMATS[path.suffix.lower()] == "PNG":
        options["pnginfo"] = PngImagePlugin.PngInfo()
        options["pnginfo"].add_itxt(METADATA_KEY, request.to_json())
    return write_picture(path, image, FORMATS[path.suffix.lower()], **options)
