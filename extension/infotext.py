"""An edit as text in the hosts' own form: the prompt, then one line of `Key: value` pairs, the request among them."""

from __future__ import annotations

import json

from ..sdk.errors import InputError
from ..sdk.request import Request
from ..sdk.result import EditResult

KEY = "DragText request"


def write_infotext(result: EditResult) -> str:
    """What the hosts write into the `parameters` of a picture. Their reader needs at least three pairs, and quotes
    values with commas or colons as JSON strings."""
    width, height = result.image.size
    pairs = {
        "Steps": result.settings.inference_steps,
        "Sampler": "DDIM",
        "CFG scale": 1,
        "Seed": result.settings.seed,
        "Size": f"{width}x{height}",
        "Model": result.model,
        "Denoising strength": result.settings.strength,
        "DragText method": result.settings.method,
        "DragText updates": result.steps,
        KEY: result.request.to_json(),
    }
    line = ", ".join(f"{name}: {_quoted(str(value))}" for name, value in pairs.items())
    return f"{result.request.prompt}\n{line}".strip()


def read_infotext(text: str) -> Request:
    """The request in a host's infotext. Raises InputError where there is none."""
    _, found, rest = text.rpartition(f"{KEY}: ")
    if not found:
        raise InputError("This infotext carries no DragText request; take one from a picture that DragText wrote.")
    try:
        value, _ = json.JSONDecoder().raw_decode(rest)
    except (ValueError, RecursionError):
        raise InputError("The DragText request in this infotext is damaged.") from None
    # A request without commas or colons does not exist, so it is always quoted.
    return Request.from_json(value if isinstance(value, str) else "")


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False) if any(mark in value for mark in ',:"\n') else value
