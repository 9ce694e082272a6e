"""The options of the extension: one list for the hosts' settings pages and for the standalone app."""

from __future__ import annotations

import logging
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..sdk.errors import InputError
from ..sdk.settings import Settings, make_settings

if TYPE_CHECKING:
    from .hosts.base import Host

log = logging.getLogger("dragtext")

PREFIX = "dragtext_"
SECTION = ("dragtext", "DragText")


@dataclass(frozen=True)
class Option:
    """An option called `PREFIX + name` in the host. most: None for text and switches."""

    name: str
    default: Any
    label: str
    info: str = ""
    least: float = 0
    most: float | None = None


OPTIONS = (
    Option(
        "default_settings",
        "",
        "DragText: settings that the tab begins with",
        "name=value, separated by commas; for example method=dragdiffusion, lora_steps=0",
    ),
    Option("output_folder", "", "DragText: output folder", "empty: the folder of img2img's pictures"),
    Option("save", True, "DragText: save every result", "in the host's folders, with its file name patterns"),
    Option("preview_every", 10, "DragText: preview every so many steps", "0 turns previews off", 0, 200),
    Option("results_kept", 10, "DragText: finished edits kept in memory", "older ones are forgotten", 1, 100),
    Option("results_limit_mb", 1024, "DragText: most memory for finished edits, in MB", "the newest stays", 64, 65536),
    Option(
        "behind_proxy",
        False,
        "DragText: this page is reached through a reverse proxy",
        "trust its X-Forwarded-Host when asking whether a request comes from this page",
    ),
    Option("cache_limit_mb", 2048, "DragText: largest size of the cache on disk, in MB", "", 0, 65536),
)
_PART = re.compile(r'(?:"[^"]*"|[^,\n])+')
BY_NAME = {option.name: option for option in OPTIONS}


def number(host: Host, name: str) -> float:
    """The value of a numeric option. What a host's settings file holds may be anything: then it is the default."""
    option, value = BY_NAME[name], host.option(name)
    try:
        given = float(value)
    except (TypeError, ValueError):
        given = math.nan
    if not math.isfinite(given):
        log.warning("DragText's option %s is %r and no number; %s is used.", name, value, option.default)
        given = float(option.default)
    return min(max(given, option.least), math.inf if option.most is None else option.most)


def parse_settings(text: str) -> Settings:
    """`name=value, name=value` as settings; everything else stays at its default. Raises InputError.

    A value with commas of its own stands in double quotes.
    """
    values: dict[str, Any] = {}
    for part in _PART.findall(text):
        if not part.strip():
            continue
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals:
            raise InputError(f"'{part.strip()}' is not of the form name=value, for example steps=120.")
        quoted = len(value) > 1 and value[0] == value[-1] == '"'
        values[name] = value[1:-1] if quoted else value
    return make_settings(values)
