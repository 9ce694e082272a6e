"""What a picture shows, in the words of the host's own interrogators, for the prompt."""

from __future__ import annotations

import uuid
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache

from PIL import Image

from ..sdk.errors import DragTextError, InputError, ModelError
from .editing import explained
from .limits import MAX_PROMPT
from .pictures import DECODING, Picture
from .queue import ClosedError, Jobs


@lru_cache(maxsize=1)
def _thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="dragtext-describe")


def description(jobs: Jobs, picture: Picture, way: str) -> Future[str]:
    """What the picture shows, at most as long as a prompt may be. way: one of the host's `describers`.

    It has its turn between generations and edits, in a thread of its own, and may end with ClosedError or ModelError.
    Raises InputError.
    """
    if way not in jobs.host.describers:
        known = ", ".join(jobs.host.describers) or "none here"
        raise InputError(f"way is how to describe the picture: {known}.")
    return _thread().submit(_describe, jobs, picture, way)


def _describe(jobs: Jobs, picture: Picture, way: str) -> str:
    host = jobs.host
    with DECODING:
        pixels = Image.fromarray(picture.pixels)

    def ask() -> str | DragTextError:  # some hosts lose what is raised in their own thread
        try:
            return host.describe(pixels, way)
        except DragTextError as error:
            return error
        except Exception as error:
            return explained(error)

    with host.turn(uuid.uuid4().hex):
        if jobs.closed:
            raise ClosedError("The WebUI is being reloaded; try again in a moment.")
        found = host.call(ask)
    if isinstance(found, DragTextError):
        raise found
    text = " ".join(found.split())[:MAX_PROMPT]
    if not text:
        raise ModelError("The WebUI found no words for this picture; write what it shows.")
    return text
