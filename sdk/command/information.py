"""Facts about this installation, also about a broken one."""

from __future__ import annotations

import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ..errors import one_line

PACKAGES = ("torch", "diffusers", "transformers", "safetensors", "numpy", "opencv", "pillow", "pydantic", "typer",
            "gradio", "fastapi", "xformers")  # fmt: skip
# One package under several names, of which a WebUI brings another than we ask for.
NAMES = {
    "opencv": ("opencv-python-headless", "opencv-python", "opencv-contrib-python-headless", "opencv-contrib-python")
}
EMBEDDED = Path(__file__).parents[1] / "model" / "embedded"


def own_version() -> str:
    """Of this copy of DragText, which in a WebUI is a checkout that nobody installed."""
    project = Path(__file__).resolve().parents[2] / "pyproject.toml"
    if project.is_file():
        found = re.search(r'^version = "([^"]+)"', project.read_text(encoding="utf-8"), re.MULTILINE)
        if found:
            return found[1]
    return _installed("dragtext")


def collect() -> dict[str, Any]:
    """Name -> value, all JSON types; sizes in bytes. A torch that cannot be loaded is one of the facts."""
    facts: dict[str, Any] = versions()
    try:
        facts |= _devices()
    except Exception as error:  # whatever a broken torch or driver raises
        facts["torch"] += f", cannot be used: {one_line(str(error) or type(error).__name__)}"
    weights = list(EMBEDDED.rglob("*.safetensors"))
    facts["embedded model"] = f"{sum(f.stat().st_size for f in weights)} bytes" if weights else "missing"
    try:
        from ..model.cache import cache_folder, cache_limit, cache_size

        facts["cache"] = f"{cache_folder()}, {cache_size()} of {cache_limit()} bytes"
    except Exception as error:  # it is made of torch too
        facts["cache"] = f"cannot be looked at: {one_line(str(error) or type(error).__name__)}"
    return facts


def versions() -> dict[str, Any]:
    """Of what numbers depend on, without loading any of it."""
    return {
        "dragtext": own_version(),
        "python": platform.python_version(),
        "system": platform.platform(),
        **{package: _installed(package) for package in PACKAGES},
    }


def as_text(value: Any) -> str:
    """A value of `collect` for people."""
    if isinstance(value, list):
        return ", ".join(f"{device['name']} ({device['memory'] // 2**20} MB)" for device in value) or "none"
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _devices() -> dict[str, Any]:
    import torch

    from ..model.processor import bfloat16_gain

    return {
        "threads": torch.get_num_threads(),
        "bfloat16": f"{bfloat16_gain():.1f} times as fast as float32 on the CPU",
        "cuda version": torch.version.cuda or torch.version.hip or "none",
        "cuda": [
            {"name": torch.cuda.get_device_name(i), "memory": torch.cuda.get_device_properties(i).total_memory}
            for i in range(torch.cuda.device_count())
        ],
        "mps": torch.backends.mps.is_available(),
    }


def _installed(package: str) -> str:
    for name in NAMES.get(package, (package,)):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return "not installed"
