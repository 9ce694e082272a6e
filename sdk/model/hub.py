"""Models by their name on the Hugging Face hub, where an earlier download left them on the disk. Never the network."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ..errors import InputError

NAME = re.compile(r"[\w.-]+/[\w.-]+$")


def cached_model(name: str) -> Path | None:
    """The downloaded files of `owner/model`, or None where the name is none or nothing of it is on the disk."""
    if not NAME.match(name):
        return None
    folder = cache_folder() / f"models--{name.replace('/', '--')}"
    return snapshot(folder) if is_cache_entry(folder) else None


def cache_folder() -> Path:
    """Where the hub's own tools keep downloads: HF_HUB_CACHE, or HF_HOME/hub, or ~/.cache/huggingface/hub."""
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if os.environ.get(variable):
            return Path(os.environ[variable]).expanduser()
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface")
    return Path(home).expanduser() / "hub"


def is_cache_entry(folder: Path) -> bool:
    """Whether a folder is one model in the hub's cache: `models--owner--name`, with `snapshots` inside."""
    return (folder / "snapshots").is_dir()


def model_name(folder: Path) -> str:
    """`name` of `models--owner--name`."""
    return folder.name.split("--")[-1]


def snapshot(folder: Path) -> Path:
    """The version of a cached model that `refs/main` names, else the newest; a lone checkpoint in it is the model.

    Raises InputError if there is none.
    """
    found = sorted((p for p in (folder / "snapshots").iterdir() if p.is_dir()), key=lambda p: p.stat().st_mtime)
    main = folder / "refs" / "main"
    if main.is_file():
        found += [p for p in found if p.name == main.read_text(encoding="utf-8").strip()]
    if not found:
        raise InputError(f"The download of {folder.name} in the hub's cache is empty; download the model again.")
    chosen = found[-1]
    files = [path for path in chosen.glob("*") if path.suffix.lower() == ".safetensors"]
    whole = (chosen / "model_index.json").is_file() or (chosen / "config.json").is_file()
    return files[0] if len(files) == 1 and not whole else chosen
