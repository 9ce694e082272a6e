"""The version, and the facts that a bug report needs."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any


@lru_cache(maxsize=1)
def version() -> str:
    """Of this copy: in a WebUI it is a checkout that nobody installed."""
    project = Path(__file__).resolve().parent.parent / "pyproject.toml"
    if project.is_file():
        found = re.search(r'^version = "([^"]+)"', project.read_text(encoding="utf-8"), re.MULTILINE)
        if found:
            return found[1]
    try:
        return installed_version("dragtext")
    except PackageNotFoundError:
        return "unknown"


def bug_report(host: str) -> str:
    """What `dragtext info` says, and the host; no names of folders, since reports are public."""
    from ..sdk.command.information import collect

    facts: dict[str, Any] = {"dragtext": version(), "host": host, **_packages()}
    known = collect()
    known.pop("dragtext", None)
    known["cache"] = str(known.get("cache", "")).rpartition(", ")[2]
    facts |= known
    lines = [f"{name}: {value if isinstance(value, str) else json.dumps(value)}" for name, value in facts.items()]
    return "\n".join(lines)


def _packages() -> dict[str, str]:
    found = {}
    for package in ("gradio", "fastapi"):
        try:
            found[package] = installed_version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
