"""What edits began from, kept on disk with what else is cached, so that a result's PNG brings its original back.

The PNG names its original by id and does not hold it: who is given a result shall not get what was there before.
"""

from __future__ import annotations

import torch

from ..sdk.errors import InputError
from ..sdk.model import cache
from .pictures import Picture, Pictures, UnknownPictureError, read_picture

ORIGINAL_KEY = "dragtext_original"  # in a PNG beside the request: the id of the picture that was edited, or ITSELF
ITSELF = "itself"  # it is no result: the request is for the picture that carries it


def keep_original(picture: Picture) -> None:
    """Keep its file; what is kept longest without use goes first where the cache is full."""
    key = cache.make_key("original", picture.id)
    if not cache.touch(key):
        cache.save_tensors(key, {"file": torch.frombuffer(bytearray(picture.data), dtype=torch.uint8)})


def find_original(identifier: str, pictures: Pictures) -> Picture | None:
    """The picture of an id, also after a restart, and from now on among the uploaded ones; None if it is gone."""
    try:
        return pictures.get(identifier)
    except UnknownPictureError:
        stored = cache.load_tensors(cache.make_key("original", identifier))
    if stored is None:
        return None
    try:
        picture = read_picture(stored["file"].numpy().tobytes())
    except (InputError, KeyError):  # a file of another version, or one that somebody changed
        return None
    if picture.id != identifier:
        return None
    pictures.keep(picture)
    return picture
