"""Settings that travel with a model: `dragtext.json` in its folder, or NAME.dragtext.json beside a checkpoint.

    {"settings": {"default": {"method": "warp"}, "rotate": {"strength": 0.8}}}

What stands under a kind of drag (see `deform.drag_kind`) adds to and overrides the default.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import InputError, ModelError
from ..settings import DRAG_KINDS, make_settings

Recommended = Mapping[str, Mapping[str, Any]]
NAME = "dragtext.json"


def recommended_file(model: Path) -> Path:
    """Where the settings of a model's folder or checkpoint lie, if it has any."""
    return model / NAME if model.is_dir() else model.with_name(f"{model.stem}.{NAME}")


def read_recommended(model: Path) -> Recommended:
    """Kind of drag or "default" -> settings; empty for a model without. Raises ModelError for a file that is none."""
    path = recommended_file(model)
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))["settings"]
        known = {"default", *DRAG_KINDS}
        if not isinstance(content, dict) or not all(isinstance(v, dict) for v in content.values()):
            raise ModelError(f"{path.name} beside the model holds no settings; correct or remove it.")
        if unknown := sorted(set(content) - known):
            raise ModelError(
                f"{path.name} beside the model names an unknown kind of drag, '{unknown[0]}'; the kinds are: "
                f"{', '.join(sorted(known))}."
            )
        for values in content.values():
            make_settings(values)
    except InputError as error:
        raise ModelError(f"{path.name} beside the model cannot be used. {error}") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path.name} beside the model cannot be read ({error}); correct or remove it.") from None
    return content


def for_kind(recommended: Recommended, kind: str) -> dict[str, Any]:
    """The settings for one kind of drag."""
    return {**recommended.get("default", {}), **recommended.get(kind, {})}
