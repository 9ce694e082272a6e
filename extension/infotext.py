"""An edit as text in the hosts' own form: the prompt, then one line of `Key: value` pairs that a person can read.

The whole request, mask included, lies in the PNG under a key of our own; a mask has no place in a line of text.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from ..sdk.errors import InputError
from ..sdk.request import Request
from ..sdk.result import EditResult
from ..sdk.settings import Settings, as_dict, make_settings
from .limits import MAX_INFOTEXT, check_count, check_prompt
from .options import parse_settings
from .points import line_of, parse_points
from .report import version

OLDER_KEY = "DragText request"  # version 0.1 put the request as JSON here
MARK = "DragText method"
NEGATIVE = "Negative prompt:"  # the hosts' own, before the last line
# A key and its value, quoted where it holds commas or colons: the hosts' own form.
PAIR = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])*"|[^,]*)(?:,|$)')


@dataclass(frozen=True)
class Reading:
    """What an infotext says. masked: there was a mask, which it cannot hold; edit: id of the edit, where it says so;
    v: (of the image, of the text)."""

    request: Request
    masked: bool = False
    edit: str = ""
    v: tuple[float, float] = (1.0, 1.0)


def write_infotext(result: EditResult, edit: str, v: tuple[float, float] = (1.0, 1.0)) -> str:
    """What the hosts write into the `parameters` of a picture. edit: id of the job; v: the point that is shown."""
    pairs = infotext_pairs(result, edit, v)
    line = ", ".join(f"{name}: {_quoted(str(value))}" for name, value in pairs.items())
    negative = result.settings.negative_prompt
    return "\n".join([result.request.prompt, *([f"{NEGATIVE} {negative}"] if negative else []), line]).strip()


def infotext_pairs(result: EditResult, edit: str, v: tuple[float, float] = (1.0, 1.0)) -> dict[str, Any]:
    """Keys and values of the line. None of the hosts' own keys may switch anything on in txt2img."""
    width, height = result.image.size
    pairs: dict[str, Any] = {
        "Steps": result.settings.inference_steps,
        "Sampler": "DDIM",
        "CFG scale": _whole(result.settings.guidance),
        "Seed": result.settings.seed,
        "Size": f"{width}x{height}",
        "Model": result.model,
        MARK: result.settings.method,
        "DragText drags": "; ".join(line_of(drag) for drag in result.request.drags),
    }
    chosen = _chosen(result.request.settings)
    if chosen:
        pairs["DragText settings"] = chosen
    if result.request.mask is not None:
        pairs["DragText mask"] = "yes"
    if v != (1.0, 1.0):
        pairs["DragText v"] = f"{v[0]:.6g}" if v[0] == v[1] else f"{v[0]:.6g}/{v[1]:.6g}"
    return {**pairs, "DragText updates": result.steps, "DragText edit": edit, "DragText version": version()}


def read_infotext(text: str) -> Reading:
    """The request in a host's infotext. Raises InputError where there is none that can be used."""
    if len(text) > MAX_INFOTEXT:
        raise InputError(f"This infotext has {len(text)} characters; the most is {MAX_INFOTEXT}.")
    lines = text.splitlines()
    numbers = [number for number, line in enumerate(lines) if f"{MARK}: " in line]
    if not numbers:
        return _older(text)
    pairs = {name: _unquoted(value) for name, value in PAIR.findall(lines[numbers[-1]])}
    if OLDER_KEY in pairs:
        return _older(text)
    prompt, negative = _prompts(lines[: numbers[-1]])
    check_prompt(prompt)
    check_prompt(negative)
    settings = parse_settings(f"{pairs.get('DragText settings', '')}, method={pairs.get(MARK, '')}")
    if negative:
        settings = make_settings({"negative_prompt": negative}, settings)
    parts = pairs.get("DragText drags", "").split(";")
    check_count(len(parts))
    drags = parse_points("\n".join(parts))
    return Reading(Request(drags, prompt, None, settings), "DragText mask" in pairs, pairs.get("DragText edit", ""),
                   read_v(pairs.get("DragText v", "1")))  # fmt: skip


def read_v(text: str) -> tuple[float, float]:
    """`0.5`, or `0.5/1` for image and text. Raises InputError."""
    try:
        image, _, words = text.partition("/")
        return float(image), float(words or image)
    except ValueError:
        raise InputError("The v in this infotext is no number.") from None


def read_request(text: str) -> Request:
    """A request as JSON, as it lies in a PNG. Raises InputError, also for what is nested without end."""
    try:
        return Request.from_json(text)
    except RecursionError:
        raise InputError("The DragText request is nested too deeply to be one.") from None


def _older(text: str) -> Reading:
    _, found, rest = text.rpartition(f"{OLDER_KEY}: ")
    if not found:
        raise InputError("This infotext carries no DragText request; take one from a picture that DragText wrote.")
    try:
        value, _ = json.JSONDecoder().raw_decode(rest)
    except (ValueError, RecursionError):
        raise InputError("The DragText request in this infotext is damaged.") from None
    # A request without commas or colons does not exist, so it is always quoted.
    return Reading(read_request(value if isinstance(value, str) else ""))


def _chosen(settings: Settings) -> str:
    """The settings that differ from the defaults."""
    standard = as_dict(Settings())
    elsewhere = ("method", "negative_prompt")
    values = as_dict(settings).items()
    chosen = {name: value for name, value in values if name not in elsewhere and value != standard[name]}
    return ", ".join(f"{name}={value}" for name, value in chosen.items())


def _whole(number: float) -> float | int:
    """1 rather than 1.0, as the hosts write it."""
    return int(number) if number == int(number) else number


def _prompts(lines: list[str]) -> tuple[str, str]:
    """The prompt, and the negative one that follows it."""
    begins = next((number for number, line in enumerate(lines) if line.startswith(NEGATIVE)), len(lines))
    return "\n".join(lines[:begins]), "\n".join(lines[begins:])[len(NEGATIVE) :].strip()


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False) if any(mark in value for mark in ',:"\n') else value


def _unquoted(value: str) -> str:
    if not value.startswith('"'):
        return value.strip()
    try:
        return str(json.loads(value))
    except (ValueError, RecursionError):
        return value
