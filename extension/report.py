"""The version, and the facts that a bug report needs."""

from __future__ import annotations

import json
from functools import lru_cache

from ..sdk.command.information import collect, own_version


@lru_cache(maxsize=1)
def version() -> str:
    """Of this copy, read once."""
    return own_version()


def bug_report(host: str) -> str:
    """What `dragtext info` says, and the host; no names of folders, since reports are public."""
    known = collect()
    known["cache"] = str(known.get("cache", "")).rpartition(", ")[2]
    facts = {"dragtext": known.pop("dragtext"), "host": host, **known}
    lines = [f"{name}: {value if isinstance(value, str) else json.dumps(value)}" for name, value in facts.items()]
    return "\n".join(lines)
