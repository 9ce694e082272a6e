"""What may come in, and how long a sentence that goes out may be: the same for tab, API and infotext."""

from __future__ import annotations

from dataclasses import is_dataclass

import numpy as np

from ..sdk.errors import InputError
from ..sdk.picture.frame import Frame
from ..sdk.request import Request

MAX_DRAGS = 100
MAX_PROMPT = 10_000  # characters
MAX_INFOTEXT = 200_000
LONGEST_SENTENCE = 400


def check_request(request: Request, size: tuple[int, ...]) -> None:
    """Raise InputError where a request is too large or does not fit its picture (height, width)."""
    check_prompt(request.prompt)
    if not request.drags:
        raise InputError("There are no drags; give at least one handle point and its target.")
    check_count(len(request.drags))
    Frame.of(*size[:2]).check_points(request.drags)


def check_prompt(prompt: str) -> None:
    """Raise InputError for a prompt that is too long or is no text."""
    if len(prompt) > MAX_PROMPT:
        raise InputError(f"The prompt has {len(prompt)} characters; the most is {MAX_PROMPT}.")
    try:
        prompt.encode()
    except UnicodeEncodeError:
        raise InputError("The prompt holds half of a character (a lone surrogate); write it again.") from None


def check_count(drags: int) -> None:
    """Raise InputError for more drags than one edit may have."""
    if drags > MAX_DRAGS:
        raise InputError(f"There are {drags} drags; the most is {MAX_DRAGS}.")


def sentence(text: object) -> str:
    """One line of bounded length that every encoding of the web can carry."""
    line = " ".join(str(text).split()).encode("utf-8", "replace").decode()
    if len(line) <= LONGEST_SENTENCE:
        return line
    half = LONGEST_SENTENCE // 2
    return f"{line[:half]} ... {line[-half + 5 :]}"


def bytes_of(*things: object) -> int:
    """How much memory arrays, tensors, pictures, and what is made of them hold."""
    total = 0
    for thing in things:
        if isinstance(thing, np.ndarray):
            total += thing.nbytes
        elif hasattr(thing, "element_size"):  # a tensor
            total += thing.element_size() * thing.nelement()  # type: ignore[attr-defined]
        elif hasattr(thing, "getbands"):  # a PIL image
            total += thing.width * thing.height * len(thing.getbands())  # type: ignore[attr-defined]
        elif is_dataclass(thing):
            total += bytes_of(*vars(thing).values())
    return total
