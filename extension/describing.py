"""What a picture shows, in the words of the host's own interrogators, for the prompt."""

from __future__ import annotations

import asyncio
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

from PIL import Image

from ..sdk.errors import DragTextError, InputError, ModelError
from .editing import explained
from .limits import MAX_PROMPT
from .pictures import DECODING, Picture
from .queue import ClosedError, Jobs

POLL = 0.1
LONGEST = 600.0  # seconds, the wait for whatever else uses the model included


@lru_cache(maxsize=1)
def _thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="dragtext-describe")


async def description(jobs: Jobs, picture: Picture, way: str) -> str:
    """What the picture shows, at most as long as a prompt may be. way: one of the host's `describers`.

    It has its turn between generations and edits, in a thread of its own. Raises InputError, ClosedError, ModelError.
    """
    if way not in jobs.host.describers:
        known = ", ".join(jobs.host.describers) or "none here"
        raise InputError(f"way is how to describe the picture: {known}.")
    asked = _thread().submit(_describe, jobs, picture, way)
    deadline = time.monotonic() + LONGEST
    while not asked.done():
        await asyncio.sleep(POLL)
        if jobs.closed or time.monotonic() > deadline:
            asked.cancel()
            raise ClosedError("The description was given up; ask again in a moment.")
    return asked.result()


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
