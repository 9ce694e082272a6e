"""Writing: checked before the work, atomic, and with the request inside a PNG."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from PIL import Image, PngImagePlugin

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
