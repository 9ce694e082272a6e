"""Requests in files: JSON, or the PNG that an edit wrote."""

from __future__ import annotations

from pathlib import Path

from ..errors import InputError
from ..request import Request
from .files import METADATA_KEY
from .reading import open_picture


def read_request(path: str | Path) -> Request:
    """Read a request from a JSON file, or from a PNG that `EditResult.save` wrote."""
    path = Path(path)
    if path.suffix.lower() == ".png":
        picture = open_picture(path, "request")
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
