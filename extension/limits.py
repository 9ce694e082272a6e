"""What may come in, and how long a sentence that goes out may be: the same for tab, API and infotext."""

from __future__ import annotations

from dataclasses import is_dataclass, replace

import numpy as np

from ..sdk.drag.regions import check_regions
from ..sdk.errors import InputError, one_line
from ..sdk.picture.frame import Frame
from ..sdk.picture.masks import load_mask, load_regions, mask_to_uri
from ..sdk.request import Request
from ..sdk.settings import LONGEST_PROMPT
from .pictures import DECODING

MAX_DRAGS = 100
MAX_PROMPT = LONGEST_PROMPT
MAX_INFOTEXT = 200_000
LONGEST_SENTENCE = 400


def check_request(request: Request, size: tuple[int, ...]) -> None:
    """Raise InputError where a request is too large or does not fit its picture (height, width)."""
    check_prompt(request.prompt)
    if not request.drags:
        raise InputError("There are no drags; give at least one handle point and its target.")
    check_count(len(request.drags))
    if isinstance(request.region, tuple):
        check_regions(len(request.region), len(request.drags))
    Frame.of(*size[:2]).check_points(request.drags)


def with_small_masks(request: Request, size: tuple[int, int]) -> Request:
    """The request with mask and regions as small PNGs that fit the picture. Raises InputError, also for a path."""
    regions = request.region
    given = () if regions is None else (regions,) if isinstance(regions, str) else regions
    for what, texts in (("mask", () if request.mask is None else (request.mask,)), ("region", given)):
        if not all(text.startswith("data:") for text in texts):
            raise InputError(f"A {what} is a PNG in base64 here, beginning with data:image/png;base64,")
    with DECODING:
        mask = None if request.mask is None else mask_to_uri(load_mask(request.mask, size))
        region = tuple(mask_to_uri(read) for one in given for read in load_regions(one, size))  # one at a time
    return replace(request, mask=mask, region=region or None)


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
    return one_line(str(text), LONGEST_SENTENCE).encode("utf-8", "replace").decode()


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
