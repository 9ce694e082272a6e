"""The options of the extension: one list for the hosts' settings pages and for the standalone app."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..sdk.errors import InputError
from ..sdk.settings import Settings, make_settings

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
    Option("cache_limit_mb", 2048, "DragText: largest size of the cache on disk, in MB", "", 0, 65536),
)
BY_NAME = {option.name: option for option in OPTIONS}


def parse_settings(text: str) -> Settings:
    """`name=value, name=value` as settings; everything else stays at its default. Raises InputError."""
    values: dict[str, Any] = {}
    for part in text.replace("\n", ",").split(","):
        if not part.strip():
            continue
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals:
            raise InputError(f"'{part.strip()}' is not of the form name=value, for example steps=120.")
        values[name] = value
    return make_settings(values)
